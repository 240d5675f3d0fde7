//! Reads a part of a stored object, or says which field cannot be read and why. Pure.
//!
//! serde's own messages quote the value they stumble over, and a password put into the wrong field is a value. So the
//! values are handed to serde by a deserializer whose error never takes one in.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        self, Expected, IntoDeserializer, Unexpected,
        value::{BorrowedStrDeserializer, MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;
use serde_path_to_error::{Segment, Track};

use crate::problem::shortened;

/// The longest path of a field, in bytes. Keys of labels are part of one, and nothing may have limited their length.
const MAX_PATH: usize = 300;

/// Why a stored object cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it, in a sentence without its value.
    pub message: String,
}

/// Reads the part of an object that stands under `root`.
///
/// # Errors
/// [`Misfit`] names the first field that cannot be read.
pub fn decode<'de, T: Deserialize<'de>>(root: &str, value: Option<&'de Value>) -> Result<T, Misfit> {
    let mut track = Track::new();
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Err(Fault::Missing.at(root.to_owned()));
    };
    T::deserialize(serde_path_to_error::Deserializer::new(Node(value), &mut track)).map_err(|fault| {
        let mut field = root.to_owned();
        for segment in track.path().iter() {
            match segment {
                Segment::Seq { index } => field.push_str(&format!("[{index}]")),
                Segment::Map { key } | Segment::Enum { variant: key } => field.push_str(&format!(".{key}")),
                Segment::Unknown => {}
            }
        }
        match fault {
            Fault::MissingField(name) => Fault::Missing.at(format!("{field}.{name}")),
            fault => fault.at(field),
        }
    })
}

/// What serde complains about, without the value.
#[derive(Debug)]
enum Fault {
    Missing,
    MissingField(&'static str),
    WrongType { found: &'static str, wanted: &'static str },
    WrongValue { wanted: &'static str },
    NoneOf(&'static [&'static str]),
    NotOneKey,
    Other,
}

impl Fault {
    fn at(&self, field: String) -> Misfit {
        let field = shortened(field, MAX_PATH);
        Misfit { message: format!("{field} {self}"), field }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing | Self::MissingField(_) => write!(formatter, "is missing"),
            Self::WrongType { found, wanted } => write!(formatter, "is {found}; it must be {wanted}"),
            Self::WrongValue { wanted } => write!(formatter, "has a value that cannot be used; it must be {wanted}"),
            Self::NoneOf(known) => {
                write!(formatter, "is unknown to this version of regcred, which knows {}", known.join(", "))
            }
            Self::NotOneKey => write!(formatter, "must have exactly one key"),
            Self::Other => write!(formatter, "cannot be read"),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    // The text may hold anything.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::WrongType { found: kind(&found), wanted: words(wanted) }
    }

    fn invalid_value(_: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::WrongValue { wanted: words(wanted) }
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::NoneOf(known)
    }

    fn missing_field(name: &'static str) -> Self {
        Self::MissingField(name)
    }
}

fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a fraction",
        Unexpected::Str(_) => "a string",
        Unexpected::Unit => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}

/// What was expected, in the words of the API.
fn words(wanted: &dyn Expected) -> &'static str {
    match wanted.to_string().as_str() {
        "a boolean" => "a boolean",
        "a string" => "a string",
        "i32" | "i64" => "a whole number within its limits",
        "a sequence" => "a list",
        "a map" => "an object",
        text if text.starts_with("struct ") => "an object",
        text if text.starts_with("enum ") => "one of the values that the schema lists",
        _ => "what the schema says",
    }
}

/// A value on its way to serde.
#[derive(Clone, Copy)]
struct Node<'de>(&'de Value);

impl<'de> IntoDeserializer<'de, Fault> for Node<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Fault;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_i64(number),
                (None, Some(number), _) => visitor.visit_u64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => Err(Fault::Other),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Node))),
            Value::Object(fields) => {
                visitor.visit_map(MapDeserializer::new(fields.iter().map(|(key, value)| (key.as_str(), Node(value)))))
            }
        }
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            Value::Object(fields) if fields.len() == 1 => {
                let fields = fields.iter().map(|(key, value)| (key.as_str(), Node(value)));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(fields)))
            }
            Value::Object(_) => Err(Fault::NotOneKey),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::connection::RegistryConnectionSpec, controller::fixture::object};
    use serde_json::json;

    const CANARY: &str = "hunter2, expected hunter2";

    fn misfit(change: impl FnOnce(&mut Value)) -> Misfit {
        let mut spec =
            json!({"provider": {"generic": {"registryUrl": "https://r.example", "secretRef": {"name": "login"}}}});
        change(&mut spec);
        decode::<RegistryConnectionSpec>("spec", Some(&spec)).unwrap_err()
    }

    #[test]
    fn names_the_field_and_what_is_wrong_with_it_and_never_its_value() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str, &str); 16] = [
            (|s| *s = json!(CANARY), "spec", "is a string; it must be an object"),
            (|s| *s = json!({}), "spec.provider", "is missing"),
            (|s| s["provider"] = json!(7), "spec.provider", "is a whole number; it must be one of the values"),
            (|s| s["provider"] = json!({}), "spec.provider", "must have exactly one key"),
            (|s| s["provider"]["dockerhub"] = json!({}), "spec.provider", "must have exactly one key"),
            (|s| s["provider"] = json!({"vault": {"x": CANARY}}), "spec.provider", "which knows generic, dockerhub"),
            (|s| s["provider"] = json!(CANARY), "spec.provider", "which knows generic, dockerhub"),
            (
                |s| s["provider"] = json!("generic"),
                "spec.provider.generic",
                "is something else; it must be what the schema says",
            ),
            (
                |s| s["provider"]["generic"]["secretRef"]["name"] = json!([CANARY]),
                "spec.provider.generic.secretRef.name",
                "is a list; it must be a string",
            ),
            (
                |s| s["provider"]["generic"]["registryUrl"] = json!(null),
                "spec.provider.generic.registryUrl",
                "is null; it must be a string",
            ),
            (
                |s| s["provider"]["generic"]["trustedTokenHosts"] = json!(["a", 7]),
                "spec.provider.generic.trustedTokenHosts[1]",
                "is a whole number; it must be a string",
            ),
            (
                |s| s["refreshIntervalMinutes"] = json!(CANARY),
                "spec.refreshIntervalMinutes",
                "is a string; it must be a whole number within its limits",
            ),
            (|s| s["refreshIntervalMinutes"] = json!(1.5), "spec.refreshIntervalMinutes", "is a fraction"),
            (
                |s| s["refreshIntervalMinutes"] = json!(99_999_999_999_u64),
                "spec.refreshIntervalMinutes",
                "has a value that cannot be used; it must be a whole number within its limits",
            ),
            (|s| s["onRejected"] = json!(CANARY), "spec.onRejected", "which knows Keep, Remove"),
            (
                |s| s["secret"] = json!({"labels": {"team": {"x": CANARY}}}),
                "spec.secret.labels.team",
                "is an object; it must be a string",
            ),
        ];
        for (change, field, words) in cases {
            let misfit = misfit(change);
            assert_eq!(misfit.field, field, "{misfit:?}");
            assert!(misfit.message.starts_with(&format!("{field} ")), "{misfit:?}");
            assert!(misfit.message.contains(words), "{misfit:?}");
            assert!(!format!("{misfit:?}").contains("hunter2"), "{misfit:?}");
        }
    }

    #[test]
    fn an_endless_key_is_cut() {
        let misfit = misfit(|spec| spec["secret"] = json!({"labels": {"k".repeat(100_000): 7}}));
        assert!(misfit.field.len() <= MAX_PATH && misfit.message.len() <= MAX_PATH + 100, "{}", misfit.message.len());
    }

    #[test]
    fn reads_what_can_be_read_as_serde_does() {
        let spec = json!({
            "provider": {"dockerhub": {"secretRef": {"name": "login", "usernameKey": "u"}}},
            "refreshIntervalMinutes": 5, "test": {"mode": "Off", "repositories": [{"name": "a"}]}, "suspend": true,
            "secret": {"labels": {"a": "b"}}, "onRejected": "Remove", "deletionPolicy": null, "newField": {"x": [1.5]},
        });
        let read: RegistryConnectionSpec = decode("spec", Some(&spec)).unwrap();
        assert_eq!(read, serde_json::from_value::<RegistryConnectionSpec>(spec).unwrap());
        let plain = serde_json::to_value(&object(|_| {}).spec).unwrap();
        assert_eq!(decode::<RegistryConnectionSpec>("spec", Some(&plain)).unwrap(), object(|_| {}).spec);
    }
}
