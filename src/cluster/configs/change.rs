//! Changes of a set of values: IncrementalAlterConfigs' operations, pure.

use std::collections::BTreeSet;

use super::{Definition, Error, Kind, Values, definition::elements};

/// One operation on one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The value becomes this one.
    Set(String),
    /// The value goes back to its default.
    Delete,
    /// These elements join the list.
    Append(String),
    /// These elements leave the list.
    Subtract(String),
}

/// The values after `operations` on `current`. A list not yet set starts from its default.
/// Operations on names without a definition are kept, for the check that follows to refuse.
///
/// # Errors
/// When an element operation is asked of a value that is not a list, or names too much.
pub fn apply_operations(
    current: &Values,
    operations: &[(String, Operation)],
    definition: fn(&str) -> Option<&'static Definition>,
) -> Result<Values, Error> {
    let mut after = current.clone();
    for (name, operation) in operations {
        let list = |word, named: &str| match definition(name) {
            Some(definition) if definition.kind == Kind::List => {
                definition.check_length(named)?;
                let value = after.get(name).map(String::as_str).or(definition.default);
                Ok(value.map(elements).unwrap_or_default())
            }
            _ => Err(Error::NotAList { operation: word, name: name.clone() }),
        };
        let value = match operation {
            Operation::Set(value) => Some(value.clone()),
            Operation::Delete => None,
            Operation::Append(added) => {
                let mut list = list("APPEND", added)?;
                let mut seen: BTreeSet<&str> = list.iter().copied().collect();
                list.extend(elements(added).into_iter().filter(|element| seen.insert(element)));
                Some(list.join(","))
            }
            Operation::Subtract(removed) => {
                let mut list = list("SUBTRACT", removed)?;
                let removed: BTreeSet<&str> = elements(removed).into_iter().collect();
                list.retain(|element| !removed.contains(element));
                Some(list.join(","))
            }
        };
        match value {
            Some(value) => after.insert(name.clone(), value),
            None => after.remove(name),
        };
    }
    Ok(after)
}
