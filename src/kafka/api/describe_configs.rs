//! DescribeConfigs (32), versions 1 to 4. From 3 on with type and documentation.
//!
//! A broker resource must name the broker asked, or none for what is set for all brokers.

use proto_kafka::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    },
};

use super::{refusal::Refusal, resources::Resource};
use crate::{
    cluster::{
        State,
        configs::{BROKER, Definition, Layers, Setting, Source, TOPIC, Update, Values},
    },
    kafka::{context::Context, error::Code},
    types::BrokerId,
};

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let serving = &context.serving;
    let results = serving.cluster.with(|state| {
        let view = View {
            state,
            layers: state.layers(serving.broker, &serving.given),
            broker: serving.broker,
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        };
        view.describe_all(&request.resources)
    });
    DescribeConfigsResponse::default().with_results(results)
}

/// Most configs of an answer: a short request names any number of resources.
const MOST: usize = 100_000;

/// What is asked of, and how much of it.
struct View<'a> {
    state: &'a State,
    layers: Layers<'a>,
    broker: BrokerId,
    synonyms: bool,
    documentation: bool,
}

impl View<'_> {
    fn describe_all(&self, asked: &[DescribeConfigsResource]) -> Vec<DescribeConfigsResult> {
        let mut left = MOST;
        let describe = |asked: &DescribeConfigsResource| {
            let entries = if left == 0 {
                let text = "Too many configs for one answer: name fewer resources in a request.";
                Err(Refusal::new(Code::PolicyViolation, text))
            } else {
                self.wanted_entries(asked)
            };
            left = left.saturating_sub(entries.as_ref().map_or(0, Vec::len));
            result(asked, entries)
        };
        asked.iter().map(describe).collect()
    }

    fn wanted_entries(
        &self,
        asked: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
        let resource = Resource::of(asked.resource_type, &asked.resource_name, self.broker)?;
        let mut entries = self.entries(&resource)?;
        // Null and empty both mean every name, as in Kafka.
        if let Some(names) = asked.configuration_keys.as_ref().filter(|names| !names.is_empty()) {
            entries.retain(|entry| names.contains(&entry.name));
        }
        Ok(entries)
    }

    fn entries(
        &self,
        resource: &Resource<'_>,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
        match resource {
            Resource::Topic(name) => {
                let topic = self.state.topic(name).ok_or_else(Refusal::unknown_topic)?;
                Ok(TOPIC.iter().map(|row| self.of_topic(&topic.configs, row)).collect())
            }
            Resource::Broker => Ok(BROKER.iter().filter_map(|row| self.of_broker(row)).collect()),
            Resource::Cluster => {
                let of_all = |row: &'static Definition| {
                    let mut settings = self.layers.broker_settings(row);
                    settings.retain(|setting| setting.source == Source::Cluster);
                    let value = settings.first()?.value.clone();
                    Some(self.entry(row, value, settings, false))
                };
                Ok(BROKER.iter().filter_map(of_all).collect())
            }
            // No group has configs of its own and no subscription exists.
            Resource::Group | Resource::ClientMetrics => Ok(Vec::new()),
        }
    }

    fn of_topic(&self, topic: &Values, row: &'static Definition) -> DescribeConfigsResourceResult {
        let (value, _) = self.layers.topic_value(topic, row);
        self.entry(row, value, self.layers.topic_settings(topic, row), false)
    }

    fn of_broker(&self, row: &'static Definition) -> Option<DescribeConfigsResourceResult> {
        let mut settings = self.layers.broker_settings(row);
        if let Some(value) = self.known(row.name) {
            let value = Some(value);
            settings.insert(0, Setting { name: row.name, value, source: Source::Given });
        }
        let value = settings.first().and_then(|setting| setting.value.clone());
        if row.shown_once_set && value.is_none() {
            return None;
        }
        Some(self.entry(row, value, settings, row.update == Update::ReadOnly))
    }

    /// What the broker is, whatever the file says under Kafka's name.
    fn known(&self, name: &str) -> Option<String> {
        let broker = self.state.brokers.get(&self.broker);
        match name {
            "broker.id" | "node.id" => Some(self.broker.to_string()),
            "broker.rack" => broker?.rack.clone(),
            "listeners" => broker.map(|it| format!("PLAINTEXT://{}:{}", it.host, it.port)),
            _ => None,
        }
    }

    fn entry(
        &self,
        row: &'static Definition,
        value: Option<String>,
        settings: Vec<Setting>,
        read_only: bool,
    ) -> DescribeConfigsResourceResult {
        let source = settings.first().map_or(Source::Default, |setting| setting.source);
        let synonym = |setting: Setting| {
            DescribeConfigsSynonym::default()
                .with_name(setting.name.into())
                .with_value(setting.value.map(Into::into))
                .with_source(setting.source.wire())
        };
        let synonyms =
            if self.synonyms { settings.into_iter().map(synonym).collect() } else { Vec::new() };
        DescribeConfigsResourceResult::default()
            .with_name(row.name.into())
            .with_value(value.map(Into::into))
            .with_read_only(read_only)
            .with_config_source(source.wire())
            .with_synonyms(synonyms)
            .with_config_type(row.kind.wire())
            .with_documentation(self.documentation.then(|| row.doc.into()))
    }
}

fn result(
    asked: &DescribeConfigsResource,
    entries: Result<Vec<DescribeConfigsResourceResult>, Refusal>,
) -> DescribeConfigsResult {
    // Unlike its kin this answer has an empty text on success, and none for an unknown topic.
    let (code, text) = match &entries {
        Ok(_) => (0, String::new()),
        Err(refusal) if refusal.code == Code::UnknownTopicOrPartition => {
            (refusal.code.code(), String::new())
        }
        Err(refusal) => (refusal.code.code(), refusal.text.clone()),
    };
    DescribeConfigsResult::default()
        .with_error_code(code)
        .with_error_message(Some(text.into()))
        .with_resource_type(asked.resource_type)
        .with_resource_name(asked.resource_name.clone())
        .with_configs(entries.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::api::testing::{add_topic, layers, received, set_config, state};

    fn asked(kind: i8, name: &'static str) -> DescribeConfigsResource {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(name.into())
            .with_configuration_keys(None)
    }

    fn all_described(
        state: &State,
        asked: &[DescribeConfigsResource],
    ) -> Vec<DescribeConfigsResult> {
        let layers = layers(state);
        let broker = BrokerId(1);
        View { state, layers, broker, synonyms: true, documentation: true }.describe_all(asked)
    }

    fn described(state: &State, asked: &DescribeConfigsResource) -> DescribeConfigsResult {
        all_described(state, std::slice::from_ref(asked)).remove(0)
    }

    fn entry<'a>(
        result: &'a DescribeConfigsResult,
        name: &str,
    ) -> &'a DescribeConfigsResourceResult {
        result.configs.iter().find(|entry| entry.name.as_str() == name).unwrap()
    }

    #[test]
    fn a_topic_shows_every_config_with_source_type_and_synonyms() {
        let mut state = state(&[1]);
        let topic = add_topic(&mut state, 1, "t", 1);
        set_config(&mut state, topic, "retention.ms", "5");
        state.cluster_configs.insert("message.max.bytes".to_owned(), "2000".to_owned());
        let result = described(&state, &asked(2, "t"));
        assert_eq!((result.error_code, result.error_message.as_deref()), (0, Some("")));
        assert_eq!(result.configs.len(), TOPIC.len());
        let set = entry(&result, "retention.ms");
        assert_eq!((set.value.as_deref(), set.config_source, set.config_type), (Some("5"), 1, 5));
        assert_eq!(set.synonyms.len(), 1, "the default is in hours only");
        assert!(!set.read_only && !set.is_sensitive);
        let inherited = entry(&result, "max.message.bytes");
        assert_eq!((inherited.value.as_deref(), inherited.config_source), (Some("2000"), 3));
        let default = entry(&result, "cleanup.policy");
        let shown = (default.value.as_deref(), default.config_source, default.config_type);
        assert_eq!(shown, (Some("delete"), 5, 7));
    }

    #[test]
    fn only_the_names_asked_for_are_shown() {
        let mut state = state(&[1]);
        add_topic(&mut state, 1, "t", 1);
        let keys = Some(vec!["retention.ms".into(), "no.such".into()]);
        let result = described(&state, &asked(2, "t").with_configuration_keys(keys));
        assert_eq!(result.configs.len(), 1);
        let all = described(&state, &asked(2, "t").with_configuration_keys(Some(Vec::new())));
        assert_eq!(all.configs.len(), TOPIC.len());
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        let state = state(&[1]);
        let code = |kind, name| described(&state, &asked(kind, name)).error_code;
        assert_eq!(code(2, "t"), 3, "an unknown topic");
        assert_eq!(code(2, "a b"), 17, "no topic name");
        assert_eq!(code(2, ""), 17, "no topic name either");
        for (kind, name) in [(4, "2"), (4, "x"), (8, "1"), (16, ""), (32, ""), (9, "1")] {
            assert_eq!(code(kind, name), 42, "{kind} {name:?}");
        }
        assert_eq!((code(32, "g"), code(16, "s")), (0, 0), "they have no configs");
    }

    #[test]
    fn this_broker_shows_what_it_is_and_what_cannot_change() {
        let mut state = state(&[1]);
        let own = [("log.retention.ms".to_owned(), "9".to_owned())].into();
        state.broker_configs.insert(BrokerId(1), own);
        let result = described(&state, &asked(4, "1"));
        let shown = BROKER.iter().filter(|row| !row.shown_once_set).count();
        assert_eq!(result.configs.len(), shown);
        assert_eq!(entry(&result, "broker.id").value.as_deref(), Some("1"));
        assert_eq!(entry(&result, "listeners").value.as_deref(), Some("PLAINTEXT://broker-1:9092"));
        let fixed = entry(&result, "num.partitions");
        assert!(fixed.read_only && fixed.config_source == 5);
        let own = entry(&result, "log.retention.ms");
        assert!(!own.read_only && own.config_source == 2);
        assert_eq!(entry(&result, "log.roll.ms").value, None);
        assert_eq!(entry(&result, "offsets.topic.replication.factor").config_type, 4);
    }

    #[test]
    fn a_throttle_is_shown_once_it_is_set() {
        const RATE: &str = "leader.replication.throttled.rate";
        let mut state = state(&[1]);
        let keys = Some(vec![RATE.into()]);
        let asked = asked(4, "1").with_configuration_keys(keys);
        assert!(described(&state, &asked).configs.is_empty());
        state.cluster_configs.insert(RATE.to_owned(), "9".to_owned());
        assert_eq!(entry(&described(&state, &asked), RATE).value.as_deref(), Some("9"));
    }

    #[test]
    fn the_broker_without_name_shows_only_what_is_set_for_all() {
        let mut state = state(&[1]);
        assert!(described(&state, &asked(4, "")).configs.is_empty());
        state.cluster_configs.insert("log.retention.ms".to_owned(), "9".to_owned());
        let result = described(&state, &asked(4, ""));
        assert_eq!(result.configs.len(), 1);
        assert_eq!(result.configs[0].config_source, 3);
    }

    #[test]
    fn an_answer_has_an_end_however_often_a_topic_is_named() {
        let mut state = state(&[1]);
        add_topic(&mut state, 1, "t", 1);
        let results = all_described(&state, &vec![asked(2, "t"); 10_000]);
        assert_eq!(results.len(), 10_000);
        let entries: usize = results.iter().map(|result| result.configs.len()).sum();
        assert!((MOST..MOST + TOPIC.len()).contains(&entries));
        assert_eq!((results[0].error_code, results[9_999].error_code), (0, 44));
    }

    #[test]
    fn answers_decode_at_every_version() {
        let mut state = state(&[1]);
        add_topic(&mut state, 1, "t", 1);
        let results = vec![described(&state, &asked(2, "t")), described(&state, &asked(2, "u"))];
        let response = DescribeConfigsResponse::default().with_results(results);
        for version in 1..=4 {
            let decoded = received(&response, version);
            assert_eq!(decoded.results[0].configs.len(), TOPIC.len());
            let texts = decoded.results.iter().map(|result| result.error_message.as_deref());
            assert!(texts.eq([Some(""), Some("")]));
            let entry = &decoded.results[0].configs[0];
            assert_eq!(entry.config_type != 0, version >= 3);
        }
    }
}
