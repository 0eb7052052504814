package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;

/**
 * What two right answers may differ in. Each rule is one line of the list; nothing else is touched.
 *
 * <ol>
 *   <li>Names of the scenario lose their prefix: it holds the version.
 *   <li>`port` of the broker itself: two brokers cannot have one.
 *   <li>`clusterId` and `logDir`: each cluster's own; that they are there is compared.
 *   <li>Ids made by chance or counters of the cluster (topic ids, the UUID in a member id, producer
 *       ids, fetch sessions): shown by the name they are known to be of, else as the first, the
 *       second… that the scenario met.
 *   <li>Texts of errors: for people, and each broker has its own; null, empty or not is compared.
 *   <li>Times near now come from a broker's clock; times of the suite's records are shown as the
 *       distance from their base.
 *   <li>`finalizedFeaturesEpoch` from 0 up: an offset in the cluster's metadata log.
 *   <li>Lists that Kafka makes from a hash map, or shuffles, below: their order says nothing.
 *   <li>`errorCode` and `apiKey` are shown with their names. (Nothing is lost.)
 * </ol>
 */
final class Normaliser {
    /** Lists without order, with the field that tells their elements apart. */
    private static final Map<String, String> UNORDERED = Map.ofEntries(
            Map.entry("apiKeys", "apiKey"),
            Map.entry("supportedFeatures", "name"),
            Map.entry("finalizedFeatures", "name"),
            Map.entry("configs", "name"),
            Map.entry("topics", "name"),
            Map.entry("responses", "name"),
            Map.entry("partitionResponses", "index"),
            Map.entry("members", "memberId"),
            Map.entry("groups", "groupId"),
            Map.entry("results", "groupId"));

    private static final Set<String> IDS = Set.of("topicId", "producerId", "sessionId");
    private static final Set<String> OF_THE_CLUSTER = Set.of("clusterId", "logDir");
    private static final Set<String> TEXTS = Set.of("errorMessage", "batchIndexErrorMessage");
    private static final Pattern UUID = Pattern.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");

    private final String prefix;
    private final Address address;
    private final Clock clock;
    private final Map<String, String> seen = new LinkedHashMap<>();

    Normaliser(String prefix, Address address, Clock clock) {
        this.prefix = prefix;
        this.address = address;
        this.clock = clock;
    }

    /** An id is shown by its name from now on. */
    void know(String kind, String value, String name) {
        seen.put(kind + value, "<" + kind + " of " + name.replace(prefix, "") + ">");
    }

    JsonNode normalise(JsonNode node) {
        return normalise("", node);
    }

    private JsonNode normalise(String field, JsonNode node) {
        if (node instanceof ObjectNode object) {
            var fields = new ObjectNode(JsonNodeFactory.instance);
            object.properties().forEach(
                    entry -> fields.set(entry.getKey(), normalise(entry.getKey(), entry.getValue())));
            return fields;
        }
        if (node instanceof ArrayNode array) {
            var elements = new ArrayNode(JsonNodeFactory.instance);
            unordered(field, array).forEach(element -> elements.add(normalise(field, element)));
            return keyed(field, elements);
        }
        if (node.isTextual()) {
            return new TextNode(text(field, node.asText()));
        }
        return node.isNumber() ? number(field, node) : node;
    }

    private String text(String field, String text) {
        if (TEXTS.contains(field)) {
            return text.isEmpty() ? text : "<text>";
        }
        if (OF_THE_CLUSTER.contains(field)) {
            return "<" + field + ">";
        }
        if (IDS.contains(field)) {
            return text.equals(Uuid.ZERO_UUID.toString()) ? text : id(field, text);
        }
        var uuids = UUID.matcher(text).replaceAll(found -> id("uuid", found.group()));
        return uuids.replace(prefix, "");
    }

    private JsonNode number(String field, JsonNode node) {
        long value = node.asLong();
        if (field.equals("port") && value == address.port()) {
            return new TextNode("<port>");
        }
        if (IDS.contains(field) && value > 0 || field.equals("producerId") && value == 0) {
            return new TextNode(id(field, node.asText()));
        }
        if (field.equals("finalizedFeaturesEpoch") && value >= 0) {
            return new TextNode("<epoch>");
        }
        if (field.equals("errorCode")) {
            return new TextNode(value + " " + Errors.forCode((short) value));
        }
        if (field.equals("apiKey")) {
            return new TextNode(value + " " + ApiKeys.forId((int) value).name);
        }
        if (clock.ofRecords(value)) {
            return new TextNode("<time+" + (value - clock.records()) + ">");
        }
        return clock.ofBroker(value) ? new TextNode("<now>") : node;
    }

    private String id(String kind, String value) {
        return seen.computeIfAbsent(
                kind + value,
                fresh -> "<" + kind + " "
                        + (1 + seen.keySet().stream().filter(key -> key.startsWith(kind)).count())
                        + ">");
    }

    /** A list without order, sorted before ids are given numbers. */
    private static Iterable<JsonNode> unordered(String field, ArrayNode array) {
        var key = UNORDERED.get(field);
        if (key == null) {
            return array;
        }
        var sorted = new ArrayList<JsonNode>();
        array.forEach(sorted::add);
        sorted.sort(Comparator.comparing(element -> element.path(key).asText()));
        return sorted;
    }

    /** A list without order as a map, unless two elements have one key. */
    private static JsonNode keyed(String field, ArrayNode elements) {
        var key = UNORDERED.get(field);
        if (key == null) {
            return elements;
        }
        var map = new ObjectNode(JsonNodeFactory.instance);
        elements.forEach(element -> map.set(element.path(key).asText(), element));
        return map.size() == elements.size() ? map : elements;
    }
}
