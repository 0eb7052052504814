//! One configuration: its name, type, default, rule, and how this broker treats it.
//!
//! Owns: parsing and validation of one value, with Kafka's texts (`ConfigDef`).
//! Does not own: the tables, or which layer a value comes from.

use super::Error;

/// Longest value: what a string of Kafka's older versions can carry.
const MOST_BYTES: usize = 32_767;

/// Kafka's type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Text.
    String,
    /// 16-bit integer.
    Short,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// Floating point.
    Double,
    /// Comma-separated texts.
    List,
}

impl Kind {
    /// The number of this type in DescribeConfigs.
    #[must_use]
    pub const fn wire(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }

    /// Kafka's word for it, as error texts carry it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
        }
    }
}

/// Which values of the type are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// All.
    Any,
    /// A number not below this one.
    AtLeast(i64),
    /// A number in this closed range.
    Between(i64, i64),
    /// Gzip's levels: 1 to 9, or -1 for the library's own choice.
    GzipLevel,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A list of these texts; it may be empty.
    EachOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
    /// A list of `address:count`.
    AddressCounts,
}

/// What this broker does with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It changes behaviour.
    Acts,
    /// It is checked, kept and shown; nothing here depends on it.
    Reported,
    /// Only the default is accepted, for the reason given in the documentation line.
    Refused,
}

impl Treatment {
    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Acts => "acts",
            Self::Reported => "reported",
            Self::Refused => "refused",
        }
    }
}

/// Whether a broker configuration may change while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Only by a restart.
    ReadOnly,
    /// For one broker or for all.
    Dynamic,
}

/// A broker configuration that gives a topic configuration its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker configuration.
    pub name: &'static str,
    /// How many of the topic's units one of its units is.
    pub scale: i64,
}

/// One row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Kafka's name.
    pub name: &'static str,
    /// Type of the value.
    pub kind: Kind,
    /// Kafka's default, as text; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// What is allowed.
    pub rule: Rule,
    /// What it does here.
    pub treatment: Treatment,
    /// Of a broker configuration: whether it changes at run time.
    pub update: Update,
    /// Of a broker configuration: whether it is listed only where somebody set it.
    pub shown_once_set: bool,
    /// Of a topic configuration: where its default comes from, strongest first.
    pub synonyms: &'static [Synonym],
    /// One line of meaning.
    pub doc: &'static str,
}

impl Definition {
    /// A configuration that is reported only, changes by restart and takes any value.
    pub(super) const fn new(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self {
            name,
            kind,
            default: Some(default),
            rule: Rule::Any,
            treatment: Treatment::Reported,
            update: Update::ReadOnly,
            shown_once_set: false,
            synonyms: &[],
            doc: "",
        }
    }

    /// One whose default is null.
    pub(super) const fn unset(name: &'static str, kind: Kind) -> Self {
        let mut new = Self::new(name, kind, "");
        new.default = None;
        new
    }

    pub(super) const fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    pub(super) const fn acts(mut self) -> Self {
        self.treatment = Treatment::Acts;
        self
    }

    pub(super) const fn refused(mut self) -> Self {
        self.treatment = Treatment::Refused;
        self
    }

    pub(super) const fn dynamic(mut self) -> Self {
        self.update = Update::Dynamic;
        self
    }

    pub(super) const fn shown_once_set(mut self) -> Self {
        self.shown_once_set = true;
        self
    }

    pub(super) const fn from(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub(super) const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    /// Checks `text` and gives the value as Kafka prints it: trimmed, numbers in plain form,
    /// list elements without spaces.
    ///
    /// # Errors
    /// When the text is not of this type or not allowed, with Kafka's words.
    pub fn parse(&self, text: &str) -> Result<String, Error> {
        self.check_length(text)?;
        let trimmed = text.trim();
        let printed = match self.kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => "true".to_owned(),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => "false".to_owned(),
            Kind::Boolean => {
                return Err(self.invalid(text, "Expected value to be either true or false"));
            }
            Kind::String => trimmed.to_owned(),
            Kind::Short => self.number::<i16>(text)?.to_string(),
            Kind::Int => self.number::<i32>(text)?.to_string(),
            Kind::Long => self.number::<i64>(text)?.to_string(),
            Kind::Double => format!("{:?}", self.number::<f64>(text)?),
            Kind::List => distinct(elements(trimmed)).join(","),
        };
        self.check(&printed)?;
        if self.treatment == Treatment::Refused && Some(printed.as_str()) != self.default {
            return Err(Error::Unsupported { name: self.name, reason: self.doc });
        }
        Ok(printed)
    }

    /// Whether `text` is short enough to be looked into.
    pub(super) fn check_length(&self, text: &str) -> Result<(), Error> {
        if text.len() > MOST_BYTES {
            return Err(self.invalid("of this length", "Value is too long"));
        }
        Ok(())
    }

    fn number<T: std::str::FromStr>(&self, text: &str) -> Result<T, Error> {
        text.trim()
            .parse()
            .map_err(|_| self.invalid(text, &format!("Not a number of type {}", self.kind.word())))
    }

    fn check(&self, printed: &str) -> Result<(), Error> {
        match self.rule {
            Rule::Any => Ok(()),
            Rule::AtLeast(least) => self.check_range(printed, Some(least), None),
            Rule::Between(least, most) => self.check_range(printed, Some(least), Some(most)),
            Rule::GzipLevel => match printed.parse::<i64>() {
                Ok(-1 | 1..=9) => Ok(()),
                _ => Err(self.invalid(printed, "Value must be between 1 and 9 or equal to -1")),
            },
            Rule::OneOf(allowed) => self.check_one_of(printed, allowed),
            Rule::EachOf(allowed) => self.check_each_of(printed, allowed),
            Rule::AddressCounts if address_counts(printed) => Ok(()),
            Rule::AddressCounts => {
                Err(self.invalid(printed, "Must be a list of IP addresses, each as address:count"))
            }
            Rule::ThrottledReplicas if throttled_replicas(printed) => Ok(()),
            Rule::ThrottledReplicas => Err(self.invalid(
                &format!("[{}]", elements(printed).join(", ")),
                &format!(
                    "{} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    self.name
                ),
            )),
        }
    }

    fn check_range(
        &self,
        printed: &str,
        least: Option<i64>,
        most: Option<i64>,
    ) -> Result<(), Error> {
        // Doubles compare as doubles: a NaN is in no range.
        let (below, above) = if let Ok(value) = printed.parse::<i64>() {
            (least.is_some_and(|least| value < least), most.is_some_and(|most| value > most))
        } else {
            let value: f64 = self.number(printed)?;
            let bound = |bound: i64| f64::from(i32::try_from(bound).unwrap_or(i32::MAX));
            (
                value.is_nan() || least.is_some_and(|least| value < bound(least)),
                most.is_some_and(|most| value > bound(most)),
            )
        };
        match (below, above, least, most) {
            (true, _, Some(least), _) => {
                Err(self.invalid(printed, &format!("Value must be at least {least}")))
            }
            (_, true, _, Some(most)) => {
                Err(self.invalid(printed, &format!("Value must be no more than {most}")))
            }
            _ => Ok(()),
        }
    }

    fn check_one_of(&self, value: &str, allowed: &[&str]) -> Result<(), Error> {
        if allowed.contains(&value) {
            return Ok(());
        }
        Err(self.invalid(value, &format!("String must be one of: {}", allowed.join(", "))))
    }

    fn check_each_of(&self, printed: &str, allowed: &[&str]) -> Result<(), Error> {
        for element in elements(printed) {
            if element.is_empty() {
                return Err(Error::Conflict(format!(
                    "Configuration '{}' values must not be empty.",
                    self.name
                )));
            }
            self.check_one_of(element, allowed)?;
        }
        Ok(())
    }

    fn invalid(&self, value: &str, reason: &str) -> Error {
        Error::Invalid {
            name: self.name.to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// The elements, each once, as Kafka keeps them.
fn distinct(elements: Vec<&str>) -> Vec<&str> {
    let mut kept: Vec<&str> = Vec::new();
    for element in elements {
        if !kept.contains(&element) {
            kept.push(element);
        }
    }
    kept
}

/// The elements of a list value.
pub(super) fn elements(list: &str) -> Vec<&str> {
    if list.trim().is_empty() { Vec::new() } else { list.split(',').map(str::trim).collect() }
}

fn address_counts(printed: &str) -> bool {
    let pair = |element: &str| {
        element.rsplit_once(':').is_some_and(|(address, count)| {
            let address = address.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            address.is_ok() && count.parse::<u32>().is_ok()
        })
    };
    elements(printed).into_iter().all(pair)
}

fn throttled_replicas(printed: &str) -> bool {
    let pair = |element: &str| {
        element.split_once(':').is_some_and(|(partition, broker)| {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits(partition) && digits(broker)
        })
    };
    printed == "*" || elements(printed).into_iter().all(pair)
}
