//! The three cores together: a writer, three to four disks, recovery at any point of any schedule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    env::{
        bugs::Bugs,
        sim::proof::{reached, tell},
    },
    replication::{
        member::{self, Refusal},
        recovery::{self, Answer, Recovery, Report},
        writer::{self, Content, Writer},
    },
    types::{BrokerId, Incarnation, SegmentId, StorageId},
    wal::{Member, OpenSegment, Previous},
};

pub(super) const DISKS: usize = 4;

fn segment(sequence: u64) -> SegmentId {
    SegmentId { incarnation: Incarnation(1), sequence }
}

fn storage(disk: usize) -> StorageId {
    StorageId(Uuid::from_u128(u128::try_from(disk).unwrap() + 1))
}

/// Three of the four disks, or the writer's alone; `without` is never 0, the writer's own.
fn open(sequence: u64, without: usize, alone: bool) -> OpenSegment {
    let disks = (0..DISKS).filter(|disk| if alone { *disk == 0 } else { *disk != without });
    let member =
        |disk| Member { broker: BrokerId(0), storage: storage(disk), incarnation: Incarnation(1) };
    OpenSegment { id: segment(sequence), nonce: sequence, ensemble: disks.map(member).collect() }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Append,
    Spare {
        without: usize,
    },
    Deliver(usize),
    Sync(usize),
    Ack(usize),
    Leave(usize),
    Roll,
    Drain,
    Ask(usize),
    FenceSync(usize),
    /// All fences of the disk at once.
    FenceSyncs(usize),
    /// The next message to the disk gets lost.
    Lose(usize),
    /// The next message to the disk comes twice.
    Repeat(usize),
    /// The disk's machine restarts; of what was not synced so many entries landed at most.
    Crash {
        disk: usize,
        landed: usize,
    },
    /// Another, empty disk under the old name.
    Wipe(usize),
    /// So many synced entries of its newest content do not read back; it may know.
    Damage {
        disk: usize,
        entries: usize,
        known: bool,
    },
    /// The wait for more answers is over.
    WaitOver,
}

type Entry = Content<u64>;

#[derive(Default)]
pub(super) struct Disk {
    member: member::Member,
    written: BTreeMap<SegmentId, Vec<Entry>>,
    synced: BTreeMap<SegmentId, u64>,
    inbox: VecDeque<(SegmentId, u64, Entry)>,
    acks: VecDeque<Result<(SegmentId, u64), ()>>,
    fences: VecDeque<SegmentId>,
    dead: bool,
    wiped: bool,
    fenced: BTreeSet<SegmentId>,
    suspect: BTreeSet<SegmentId>,
}

pub(super) struct Cluster {
    writer: Writer<u64>,
    disks: Vec<Disk>,
    opened: Vec<OpenSegment>,
    sent: BTreeMap<SegmentId, Vec<Entry>>,
    appended: u64,
    pub(super) committed: Vec<u64>,
    closed: BTreeMap<SegmentId, u64>,
    recovery: Option<Recovery>,
    recovering: Vec<OpenSegment>,
    /// What the segments held that were sealed before recovery began.
    sealed: Vec<u64>,
    pub(super) decided: Option<Vec<u64>>,
    alone: bool,
    bugs: Bugs,
}

impl Cluster {
    fn new(alone: bool) -> Self {
        Self::with_bugs(alone, 3, Bugs::NONE)
    }

    /// Its first ensemble is without that disk.
    pub(super) fn with_bugs(alone: bool, without: usize, bugs: Bugs) -> Self {
        let member = || member::Member::default().with_bugs(bugs);
        let mut cluster = Self {
            writer: Writer::new().with_bugs(bugs),
            disks: (0..DISKS).map(|_| Disk { member: member(), ..Disk::default() }).collect(),
            opened: Vec::new(),
            sent: BTreeMap::new(),
            appended: 0,
            committed: Vec::new(),
            closed: BTreeMap::new(),
            recovery: None,
            recovering: Vec::new(),
            sealed: Vec::new(),
            decided: None,
            alone,
            bugs,
        };
        cluster.step(&Step::Spare { without });
        cluster
    }

    pub(super) fn step(&mut self, step: &Step) {
        tell(step);
        match *step {
            Step::Append => {
                self.appended += 1;
                self.write(writer::Event::Append(self.appended));
            }
            // A fenced incarnation opens nothing (H2); at most three are open.
            Step::Spare { without }
                if self.recovering.is_empty() && self.opened.len() - self.closed.len() < 3 =>
            {
                let sequence = u64::try_from(self.opened.len()).unwrap();
                let open = open(sequence, without, self.alone);
                self.opened.push(open.clone());
                self.write(writer::Event::Spare(open));
            }
            Step::Spare { .. } => {}
            Step::Deliver(disk) => {
                if let Some((segment, number, content)) = self.disks[disk].inbox.pop_front() {
                    self.tell(disk, member::Event::Append { segment, number, content });
                }
            }
            Step::Sync(disk) => {
                let written: Vec<_> = self.disks[disk].written.iter().map(length).collect();
                for (segment, entries) in written {
                    if self.disks[disk].synced.insert(segment, entries) != Some(entries) {
                        self.tell(disk, member::Event::Synced { segment, entries });
                    }
                }
            }
            Step::Ack(disk) => match self.disks[disk].acks.pop_front() {
                Some(Ok((segment, entries))) => {
                    let member = storage(disk);
                    self.write(writer::Event::Synced { segment, member, entries });
                }
                Some(Err(())) => self.write(writer::Event::End),
                None => {}
            },
            Step::Leave(disk) => self.leave(disk),
            Step::Roll => self.write(writer::Event::Roll),
            Step::Drain => self.write(writer::Event::Drain),
            Step::Ask(disk) => self.ask(disk),
            Step::FenceSync(disk) => {
                if let Some(segment) = self.disks[disk].fences.pop_front() {
                    self.disks[disk].fenced.insert(segment);
                    self.tell(disk, member::Event::FenceSynced { segment });
                }
            }
            Step::FenceSyncs(disk) => {
                for _ in 0..self.disks[disk].fences.len() {
                    self.step(&Step::FenceSync(disk));
                }
            }
            Step::Lose(disk) => drop(self.disks[disk].inbox.pop_front()),
            Step::Repeat(disk) => {
                if let Some(message) = self.disks[disk].inbox.front().cloned() {
                    reached("an entry comes twice");
                    self.step(&Step::Deliver(disk));
                    self.disks[disk].inbox.push_front(message);
                }
            }
            Step::Crash { disk, landed } => self.crash(disk, landed),
            Step::Wipe(disk) => {
                if disk == 0 {
                    self.write(writer::Event::End);
                }
                self.disks[disk] = Disk { wiped: true, ..Disk::default() };
            }
            Step::Damage { disk, entries, known } => self.damage(disk, entries, known),
            Step::WaitOver => self.recover(recovery::Event::WaitOver),
        }
    }

    fn leave(&mut self, disk: usize) {
        let member = storage(disk);
        let is_in = |open: &OpenSegment| open.ensemble.iter().any(|it| it.storage == member);
        if self.writer.active().is_some_and(is_in) {
            reached("H4: a segment is frozen");
        }
        self.write(writer::Event::Leave { member });
    }

    /// A power cut and a start: what was synced is there, of the rest a prefix.
    fn crash(&mut self, disk: usize, landed: usize) {
        if disk == 0 {
            self.write(writer::Event::End);
        }
        let held = &mut self.disks[disk];
        let mut member = member::Member::default().with_bugs(self.bugs);
        for (segment, written) in &mut held.written {
            let synced = held.synced.get(segment).copied().unwrap_or_default();
            let synced = usize::try_from(synced).unwrap();
            written.truncate((synced + landed).min(written.len()));
            let entries = u64::try_from(written.len()).unwrap();
            held.synced.insert(*segment, entries);
            member.restore(*segment, entries, held.fenced.contains(segment));
        }
        if !held.fenced.is_empty() {
            reached("H6: a fence outlives a restart");
        }
        // Fenced before a word of it came.
        for segment in held.fenced.iter().filter(|it| !held.written.contains_key(it)) {
            member.restore(*segment, 0, true);
        }
        held.member = member;
        held.inbox.clear();
        held.acks.clear();
        held.fences.clear();
    }

    /// Rot. Where the scan after a restart sees it, what is before it counts and its end is no
    /// evidence.
    fn damage(&mut self, disk: usize, entries: usize, known: bool) {
        self.crash(disk, 0);
        let held = &mut self.disks[disk];
        let newest = held.written.iter_mut().rfind(|(_, written)| written.len() > 1);
        let Some((segment, written)) = newest else { return };
        written.truncate(written.len().saturating_sub(entries));
        let left = u64::try_from(written.len()).unwrap();
        held.synced.insert(*segment, left);
        if known {
            held.suspect.insert(*segment);
        }
        held.member.restore(*segment, left, held.fenced.contains(segment));
    }

    fn write(&mut self, event: writer::Event<u64>) {
        let mut effects = Vec::new();
        self.writer.apply(event, &mut effects);
        for effect in effects {
            match effect {
                writer::Effect::Send { segment, number, content, .. } => {
                    self.sent.entry(segment).or_default().push(content.clone());
                    let open = self.opened.iter().find(|open| open.id == segment).unwrap();
                    for member in open.ensemble.clone() {
                        let disk = (0..DISKS).find(|disk| storage(*disk) == member.storage);
                        let disk = &mut self.disks[disk.unwrap()];
                        disk.inbox.push_back((segment, number, content.clone()));
                    }
                }
                writer::Effect::Committed { payload, .. } => self.committed.push(payload),
                writer::Effect::Closed { segment, entries } => {
                    if entries == 0 {
                        reached("H16: a spare is skipped or given back");
                    }
                    assert_eq!(self.closed.insert(segment, entries), None);
                }
                writer::Effect::Drained | writer::Effect::Ended => {}
            }
        }
    }

    fn tell(&mut self, disk: usize, event: member::Event<Entry>) {
        if self.disks[disk].dead || self.disks[disk].wiped {
            return;
        }
        let mut effects = Vec::new();
        self.disks[disk].member.apply(event, &mut effects);
        for effect in effects {
            let held = &mut self.disks[disk];
            match effect {
                member::Effect::Write { segment, number, content } => {
                    let written = held.written.entry(segment).or_default();
                    assert_eq!(u64::try_from(written.len()).unwrap(), number);
                    written.push(content);
                }
                member::Effect::Ack { segment, entries } => {
                    held.acks.push_back(Ok((segment, entries)));
                }
                member::Effect::Refuse { refusal: Refusal::Fenced, .. } => {
                    held.acks.push_back(Err(()));
                }
                // What got lost on the way is sent again.
                member::Effect::Refuse { segment, refusal: Refusal::NotNext { next } } => {
                    reached("an entry is lost on the way and sent again");
                    let from = usize::try_from(next).unwrap();
                    let again = self.sent[&segment].iter().skip(from).cloned();
                    let again = (next..).zip(again).map(|(number, it)| (segment, number, it));
                    self.disks[disk].inbox.extend(again);
                }
                member::Effect::SyncFence { segment } => held.fences.push_back(segment),
                member::Effect::Report { segment, entries } => {
                    let previous = match held.written.get(&segment).and_then(|all| all.first()) {
                        Some(Content::Header { previous, .. }) => *previous,
                        _ => None,
                    };
                    let crc = crc(&held.written, segment, entries);
                    let suspect = held.suspect.contains(&segment);
                    if suspect {
                        reached("H11: a suspect answers");
                    }
                    let report = Report { entries, crc, previous, suspect };
                    let (member, answer) = (storage(disk), Answer::Report(report));
                    self.recover(recovery::Event::Answered { segment, member, answer });
                }
            }
        }
    }

    /// Marks every open segment recovering and asks `disk` about those it holds.
    fn ask(&mut self, disk: usize) {
        if self.recovery.is_none() {
            if self.recovering.is_empty() {
                self.recovering.clone_from(&self.opened);
                // Segments the writer closed may be sealed by it, from the oldest on.
                let sealed = self.closed.len() / 2;
                for open in self.recovering.drain(..sealed).collect::<Vec<_>>() {
                    let content = self.read(open.id, self.closed[&open.id]);
                    self.sealed.extend(content.expect("what is committed is held by somebody"));
                }
            }
            self.recovery = Some(Recovery::new(&self.recovering).with_bugs(self.bugs));
            self.recover(recovery::Event::Start);
        }
        for open in self.recovering.clone() {
            let segment = open.id;
            if !open.ensemble.iter().any(|member| member.storage == storage(disk)) {
                continue;
            }
            if self.disks[disk].wiped {
                reached("H10: another disk under an old name");
                let (member, answer) = (storage(disk), Answer::NotMember);
                self.recover(recovery::Event::Answered { segment, member, answer });
            } else {
                self.tell(disk, member::Event::FenceAndReport { segment });
            }
        }
    }

    fn recover(&mut self, event: recovery::Event) {
        let Some(mut recovery) = self.recovery.take() else { return };
        let mut effects = Vec::new();
        recovery.apply(event, &mut effects);
        self.recovery = Some(recovery);
        for effect in effects {
            match effect {
                recovery::Effect::AskCrc { segment, member, entries } => {
                    let disk = (0..DISKS).find(|disk| storage(*disk) == member).unwrap();
                    let held = self.disks[disk].written.get(&segment).map_or(0, Vec::len);
                    if held < usize::try_from(entries).unwrap() {
                        // It lost them since it answered: recovery begins again.
                        self.recovery = None;
                        return;
                    }
                    let crc = crc(&self.disks[disk].written, segment, entries);
                    self.recover(recovery::Event::Crc { segment, member, entries, crc });
                }
                recovery::Effect::Decided(decisions) => self.decide(&decisions),
                recovery::Effect::Diverged { segment } => panic!("{segment} diverged"),
                recovery::Effect::Ask { .. } | recovery::Effect::Blocked { .. } => {}
            }
        }
    }

    /// What the bucket holds after the seal record. Nothing is sealed when a holder is gone since
    /// it answered: recovery begins again.
    fn decide(&mut self, decisions: &[recovery::Decision]) {
        tell(&decisions);
        let mut log = self.sealed.clone();
        for decision in decisions {
            match self.read(decision.segment, decision.entries) {
                Some(content) => log.extend(content),
                None => {
                    reached("H8: a holder is gone before the seal, recovery begins again");
                    self.recovery = None;
                    return;
                }
            }
        }
        assert!(self.decided.is_none(), "decided once");
        if decisions.iter().filter(|decision| decision.entries > 0).count() > 1 {
            reached("H15: recovery follows the chain of headers");
        }
        self.decided = Some(log);
    }

    fn read(&self, segment: SegmentId, entries: u64) -> Option<Vec<u64>> {
        if entries == 0 {
            return Some(Vec::new());
        }
        let entries = usize::try_from(entries).unwrap();
        let mut held = self.disks.iter().filter_map(|disk| disk.written.get(&segment));
        let written = held.find(|written| written.len() >= entries)?;
        let payload = |content: &Entry| match content {
            Content::Payload(payload) => *payload,
            Content::Header { .. } => panic!("one header a segment"),
        };
        Some(written[1..entries].iter().map(payload).collect())
    }

    /// Whether some entry is sent and not committed.
    pub(super) fn uncommitted(&self) -> bool {
        u64::try_from(self.committed.len()).unwrap() < self.appended
    }

    pub(super) fn check(&self) {
        let counted: Vec<_> = (1..).take(self.committed.len()).collect();
        assert_eq!(self.committed, counted, "committed in order, each once");
        if let Some(decided) = &self.decided {
            let counted: Vec<_> = (1..).take(decided.len()).collect();
            assert_eq!(*decided, counted, "recovered without gap or repetition");
            assert!(decided.len() >= self.committed.len(), "something committed was lost");
        }
    }
}

fn length(entry: (&SegmentId, &Vec<Entry>)) -> (SegmentId, u64) {
    (*entry.0, u64::try_from(entry.1.len()).unwrap())
}

fn crc(written: &BTreeMap<SegmentId, Vec<Entry>>, segment: SegmentId, entries: u64) -> u32 {
    let entries = usize::try_from(entries).unwrap();
    let prefix = written.get(&segment).map_or(&[][..], |written| &written[..entries]);
    let text = format!("{prefix:?}");
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, text.as_bytes())).unwrap()
}

fn steps(recovery: bool) -> impl Strategy<Value = Step> {
    let disk = 0..DISKS;
    prop_oneof![
        4 => Just(Step::Append),
        6 => disk.clone().prop_map(Step::Deliver),
        5 => disk.clone().prop_map(Step::Sync),
        6 => disk.clone().prop_map(Step::Ack),
        2 => (1..DISKS).prop_map(|without| Step::Spare { without }),
        1 => (1..DISKS).prop_map(Step::Leave),
        1 => Just(Step::Roll),
        u32::from(recovery) * 4 => disk.clone().prop_map(Step::Ask),
        u32::from(recovery) * 4 => disk.prop_map(Step::FenceSync),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn nothing_committed_is_lost_whenever_recovery_comes(
        alone in prop::bool::weighted(0.2),
        before in prop::collection::vec(steps(false), 0..120),
        during in prop::collection::vec(steps(true), 0..60),
        after in prop::collection::vec(steps(false), 0..60),
        survivor in 0..DISKS,
    ) {
        let mut cluster = Cluster::new(alone);
        for step in before.iter().chain(&during) {
            cluster.step(step);
            cluster.check();
        }
        // Every segment has one member among any two disks but the one its ensemble leaves out.
        let survivors: BTreeSet<_> = [survivor, 0].into();
        for disk in 0..DISKS {
            cluster.disks[disk].dead |= !survivors.contains(&disk);
        }
        for step in &after {
            cluster.step(step);
        }
        for disk in survivors {
            cluster.step(&Step::Ask(disk));
            for _ in 0..20 {
                cluster.step(&Step::FenceSync(disk));
            }
            cluster.step(&Step::Sync(disk));
        }
        cluster.recover(recovery::Event::WaitOver);
        prop_assert!(cluster.decided.is_some(), "a member of every segment answered");
        cluster.check();
        // Whatever is still on its way never adds to what was committed beyond the recovered.
        for step in after {
            cluster.step(&step);
            cluster.check();
        }
    }

    #[test]
    fn everything_appended_is_committed_in_quiet_times(
        before in prop::collection::vec(steps(false), 0..150),
    ) {
        let mut cluster = Cluster::new(false);
        for step in &before {
            cluster.step(step);
        }
        for without in 1..DISKS {
            cluster.step(&Step::Spare { without });
        }
        cluster.step(&Step::Drain);
        for _ in 0..400 {
            for disk in 0..DISKS {
                cluster.step(&Step::Deliver(disk));
                cluster.step(&Step::Sync(disk));
                cluster.step(&Step::Ack(disk));
            }
        }
        cluster.check();
        let left = before.iter().any(|step| matches!(step, Step::Leave(_)));
        if !left {
            prop_assert_eq!(u64::try_from(cluster.committed.len()).unwrap(), cluster.appended);
            prop_assert_eq!(cluster.closed.len(), cluster.opened.len());
        }
        let mut log = Vec::new();
        for (segment, entries) in &cluster.closed {
            log.extend(cluster.read(*segment, *entries).unwrap());
        }
        let counted: Vec<_> = (1..).take(log.len()).collect();
        prop_assert_eq!(log, counted, "closed segments tile the log");
    }
}

#[test]
fn a_lone_member_is_never_left() {
    let mut writer = Writer::new();
    let mut effects = Vec::new();
    writer.apply(writer::Event::Spare(open(0, 3, true)), &mut effects);
    writer.apply(writer::Event::Spare(open(1, 3, true)), &mut effects);
    writer.apply(writer::Event::Leave { member: storage(0) }, &mut effects);
    writer.apply(writer::Event::Append(1), &mut effects);
    assert_eq!(writer.active().map(|open| open.id), Some(segment(0)));
}

#[test]
fn a_skipped_spare_is_closed_empty() {
    let mut writer = Writer::new();
    let mut effects = Vec::new();
    for (sequence, without) in [(0, 3), (1, 3), (2, 1)] {
        writer.apply(writer::Event::Spare(open(sequence, without, false)), &mut effects);
    }
    effects.clear();
    writer.apply(writer::Event::<u64>::Leave { member: storage(1) }, &mut effects);
    let closed = |sequence| writer::Effect::Closed { segment: segment(sequence), entries: 0 };
    assert_eq!(effects[..2], [closed(0), closed(1)]);
    assert_eq!(writer.active().map(|open| open.id), Some(segment(2)));
}

#[test]
fn a_suspect_alone_blocks_and_another_member_unblocks() {
    let opened = [open(0, 3, false)];
    let mut recovery = Recovery::new(&opened);
    let mut effects = Vec::new();
    recovery.apply(recovery::Event::Start, &mut effects);
    assert_eq!(effects.len(), 3);
    let answer = |disk, answer| recovery::Event::Answered {
        segment: segment(0),
        member: storage(disk),
        answer,
    };
    let report =
        |entries, suspect| Answer::Report(Report { entries, crc: 1, previous: None, suspect });
    effects.clear();
    recovery.apply(answer(0, report(5, true)), &mut effects);
    recovery.apply(answer(1, Answer::Unreachable), &mut effects);
    recovery.apply(answer(2, Answer::NotMember), &mut effects);
    assert_eq!(effects, [recovery::Effect::Blocked { segments: vec![segment(0)] }]);
    effects.clear();
    recovery.apply(answer(1, report(3, false)), &mut effects);
    let holders = vec![storage(1)];
    let decision = recovery::Decision { segment: segment(0), entries: 3, holders };
    assert_eq!(effects, [recovery::Effect::Decided(vec![decision])]);
}

#[test]
fn members_that_differ_stop_everything() {
    let opened = [open(0, 3, false)];
    let mut recovery = Recovery::new(&opened);
    let mut effects = Vec::new();
    for (disk, entries, crc) in [(0, 5, 50), (1, 3, 30)] {
        let previous: Option<Previous> = None;
        let report = Report { entries, crc, previous, suspect: false };
        let (segment, member) = (segment(0), storage(disk));
        let answer = Answer::Report(report);
        recovery.apply(recovery::Event::Answered { segment, member, answer }, &mut effects);
    }
    let (segment, member) = (segment(0), storage(0));
    assert_eq!(effects, [recovery::Effect::AskCrc { segment, member, entries: 3 }]);
    effects.clear();
    recovery.apply(recovery::Event::Crc { segment, member, entries: 3, crc: 31 }, &mut effects);
    assert_eq!(effects, [recovery::Effect::Diverged { segment }]);
}
