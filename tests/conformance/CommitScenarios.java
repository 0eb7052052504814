package conformance;

import conformance.Prepare.Topic;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestPartition;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestTopic;
import org.apache.kafka.common.message.OffsetDeleteRequestData;
import org.apache.kafka.common.message.OffsetDeleteRequestData.OffsetDeleteRequestPartition;
import org.apache.kafka.common.message.OffsetDeleteRequestData.OffsetDeleteRequestTopic;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestGroup;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestTopic;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestTopics;
import org.apache.kafka.common.protocol.ApiKeys;

/** Offsets that groups commit, fetch and delete. */
final class CommitScenarios {
    private static final short BY_ID = 10;

    private CommitScenarios() {}

    static void add(Suite suite) {
        suite.each(ApiKeys.OFFSET_COMMIT, "without members", CommitScenarios::simple);
        suite.each(ApiKeys.OFFSET_COMMIT, "with members", CommitScenarios::members);
        suite.each(ApiKeys.OFFSET_FETCH, "good and bad", CommitScenarios::fetches);
        suite.between(ApiKeys.OFFSET_FETCH, "several groups", 8, 10, CommitScenarios::groups);
        suite.each(ApiKeys.OFFSET_DELETE, "good and bad", CommitScenarios::deletes);
    }

    private static OffsetCommitRequestData commit(
            Run run, String group, Topic topic, int partition, long offset, String metadata) {
        var request = new OffsetCommitRequestData().setGroupId(group);
        short version = run.versionOf(request);
        var committed = new OffsetCommitRequestPartition()
                .setPartitionIndex(partition)
                .setCommittedOffset(offset)
                .setCommittedMetadata(metadata);
        if (version >= 6) {
            committed.setCommittedLeaderEpoch(3);
        }
        var wanted = new OffsetCommitRequestTopic().setPartitions(List.of(committed));
        request.topics().add(version >= BY_ID
                ? wanted.setTopicId(topic.id())
                : wanted.setName(topic.name()));
        return request;
    }

    private static OffsetFetchRequestData fetch(Run run, String group, Topic... topics) {
        var request = new OffsetFetchRequestData();
        short version = run.versionOf(request);
        if (version >= 8) {
            return request.setGroups(List.of(group(version, group, topics)));
        }
        return request.setGroupId(group).setTopics(List.of(topics).stream()
                .map(topic -> new OffsetFetchRequestTopic()
                        .setName(topic.name()).setPartitionIndexes(List.of(0, 1)))
                .toList());
    }

    private static OffsetFetchRequestGroup group(short version, String group, Topic... topics) {
        return new OffsetFetchRequestGroup().setGroupId(group).setTopics(List.of(topics).stream()
                .map(topic -> version >= BY_ID
                        ? new OffsetFetchRequestTopics().setTopicId(topic.id())
                        : new OffsetFetchRequestTopics().setName(topic.name()))
                .map(topic -> topic.setPartitionIndexes(List.of(0, 1)))
                .toList());
    }

    private static void simple(Run run) throws Exception {
        run.prepare.coordinator();
        var topic = run.prepare.topic("t", 2);
        var missing = new Topic(run.name("missing"), new Uuid(9, 9));
        var group = run.name("g");
        run.ask("first", commit(run, group, topic, 0, 5, "note"));
        run.ask("null metadata", commit(run, group, topic, 1, 6, null));
        run.ask("back", commit(run, group, topic, 0, 2, ""));
        run.ask("below zero", commit(run, group, topic, 0, -1, ""));
        run.ask("longest metadata", commit(run, group, topic, 0, 7, "m".repeat(4096)));
        run.ask("metadata too long", commit(run, group, topic, 0, 8, "m".repeat(4097)));
        run.ask("no such partition", commit(run, group, topic, 2, 1, ""));
        run.ask("no such topic", commit(run, group, missing, 0, 1, ""));
        run.ask("no group", commit(run, "", topic, 0, 1, ""));
        run.ask("a generation without members",
                commit(run, group, topic, 0, 9, "").setGenerationIdOrMemberEpoch(1));
        run.ask("a member of a group that is not", commit(run, run.name("h"), topic, 0, 1, "")
                .setGenerationIdOrMemberEpoch(1).setMemberId("who"));
        run.ask("nothing", new OffsetCommitRequestData().setGroupId(group));
        if (run.version <= 4) {
            run.ask("retention", commit(run, group, topic, 1, 3, "").setRetentionTimeMs(1));
        }
        run.ask("what is kept", fetch(run, group, topic));
    }

    private static void members(Run run) throws Exception {
        run.prepare.coordinator();
        var topic = run.prepare.topic("t", 2);
        var member = new Member(run, "g", "a");
        member.join("joins");
        run.ask("before it syncs", of(member, commit(run, member.group, topic, 0, 1, "")));
        member.sync("syncs", member);
        run.ask("good", of(member, commit(run, member.group, topic, 0, 2, "")));
        run.ask("from nobody", commit(run, member.group, topic, 0, 3, ""));
        run.ask("unknown member", commit(run, member.group, topic, 0, 4, "")
                .setGenerationIdOrMemberEpoch(member.generation).setMemberId("who"));
        run.ask("old generation", of(member, commit(run, member.group, topic, 0, 5, ""))
                .setGenerationIdOrMemberEpoch(0));
        if (run.version >= 7) {
            run.ask("unknown instance", of(member, commit(run, member.group, topic, 0, 6, ""))
                    .setGroupInstanceId("who"));
        }
        member.leave("leaves");
        run.ask("after it left", of(member, commit(run, member.group, topic, 0, 7, "")));
        run.ask("from nobody, empty", commit(run, member.group, topic, 0, 8, ""));
        run.ask("what is kept", fetch(run, member.group, topic));
    }

    private static OffsetCommitRequestData of(Member member, OffsetCommitRequestData request) {
        return request
                .setGenerationIdOrMemberEpoch(member.generation)
                .setMemberId(member.id);
    }

    private static void fetches(Run run) throws Exception {
        run.prepare.coordinator();
        var topic = run.prepare.topic("t", 2);
        var missing = new Topic(run.name("missing"), new Uuid(9, 9));
        var group = run.name("g");
        run.ask("unknown group", fetch(run, group, topic));
        run.quiet(commit(run, group, topic, 0, 5, "note"));
        run.ask("one committed, one not", fetch(run, group, topic));
        run.ask("missing topic", fetch(run, group, missing, topic));
        run.ask("no topics", fetch(run, group));
        run.ask("no group", fetch(run, "", topic));
        var all = fetch(run, group);
        if (run.version >= 8) {
            all.groups().get(0).setTopics(null);
        } else if (run.version >= 2) {
            all.setTopics(null);
        }
        run.ask("all", all);
        if (run.version >= 7) {
            run.ask("stable", fetch(run, group, topic).setRequireStable(true));
        }
        if (run.version >= 9) {
            var member = fetch(run, group, topic);
            member.groups().get(0).setMemberId("who").setMemberEpoch(3);
            run.ask("as a member", member);
        }
    }

    private static void groups(Run run) throws Exception {
        run.prepare.coordinator();
        var topic = run.prepare.topic("t", 2);
        run.quiet(commit(run, run.name("g"), topic, 0, 5, "note"));
        var request = new OffsetFetchRequestData().setGroups(List.of(
                group(run.version, run.name("g"), topic),
                group(run.version, run.name("h"), topic),
                group(run.version, "", topic)));
        run.ask("three", request);
        run.ask("none", new OffsetFetchRequestData());
        run.ask("twice", new OffsetFetchRequestData().setGroups(List.of(
                group(run.version, run.name("g"), topic),
                group(run.version, run.name("g"), topic))));
    }

    private static void deletes(Run run) throws Exception {
        run.prepare.coordinator();
        var topic = run.prepare.topic("t", 2);
        var group = run.name("g");
        run.ask("unknown group", delete(group, topic.name(), 0));
        run.quiet(commit(run, group, topic, 0, 5, "note"));
        run.ask("good", delete(group, topic.name(), 0));
        run.ask("again", delete(group, topic.name(), 0));
        run.ask("never committed", delete(group, topic.name(), 1));
        run.ask("no such partition", delete(group, topic.name(), 7));
        run.ask("missing topic", delete(group, run.name("missing"), 0));
        run.ask("no group", delete("", topic.name(), 0));
        run.ask("what is kept", fetch(run, group, topic));
        var member = new Member(run, "live", "a").alone();
        run.ask("of a live group", delete(member.group, topic.name(), 0));
    }

    private static OffsetDeleteRequestData delete(String group, String topic, int partition) {
        var wanted = new OffsetDeleteRequestTopic().setName(topic);
        wanted.partitions().add(new OffsetDeleteRequestPartition().setPartitionIndex(partition));
        var request = new OffsetDeleteRequestData().setGroupId(group);
        request.topics().add(wanted);
        return request;
    }
}
