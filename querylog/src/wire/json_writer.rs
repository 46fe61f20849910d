//! Writing JSON: [`JsonWriter`], a serializer that is quicker than a general one, since a record is written for each
//! request. It takes what lines are made of: objects, arrays, strings, numbers, booleans and null.
//!
//! Names of members in structs are written as they are, and strings in one piece if nothing in them is escaped.

use std::fmt::{self, Write as _};
use std::io;

use serde::ser::{self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

use crate::model::printable::obeyed_by_terminals;

/// Appends JSON to a buffer, without whitespace. Characters that a terminal obeys are escaped.
pub(crate) struct JsonWriter<'a>(pub(crate) &'a mut Vec<u8>);

/// A value that is not of the kinds that lines are made of.
#[derive(Debug)]
pub(crate) struct NotJson(String);

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotJson {}

impl ser::Error for NotJson {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl From<NotJson> for io::Error {
    fn from(error: NotJson) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Returns whether nothing in these bytes is escaped, as far as that shows without decoding them. Without branches, so
/// that many are looked at together.
#[allow(clippy::needless_bitwise_bool, reason = "without branches")]
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, &byte| plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\'))
}

impl JsonWriter<'_> {
    fn text(&mut self, text: &str) {
        self.0.push(b'"');
        if is_plain(text.as_bytes()) {
            self.0.extend_from_slice(text.as_bytes());
        } else {
            self.escaped(text);
        }
        self.0.push(b'"');
    }

    #[cold]
    fn escaped(&mut self, text: &str) {
        for char in text.chars() {
            let short = match char {
                '"' | '\\' => char as u8,
                '\u{8}' => b'b',
                '\t' => b't',
                '\n' => b'n',
                '\u{c}' => b'f',
                '\r' => b'r',
                _ if obeyed_by_terminals(char) => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        self.0.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                    }
                    continue;
                }
                _ => {
                    self.0.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            self.0.extend_from_slice(&[b'\\', short]);
        }
    }

    /// Writes the name of a member of a struct, which has nothing to escape.
    fn name(&mut self, name: &'static str) {
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn integer(&mut self, mut value: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + u8::try_from(value % 10).unwrap_or_default();
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[start..]);
    }
}

/// An object or an array that is being written.
pub(crate) struct Members<'a> {
    to: JsonWriter<'a>,
    is_empty: bool,
    end: u8,
}

impl Members<'_> {
    fn separate(&mut self) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.to.0.push(b',');
        }
    }

    fn write(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), NotJson> {
        value.serialize(JsonWriter(self.to.0))
    }

    fn close(self) {
        self.to.0.push(self.end);
    }
}

fn unsupported<T>() -> Result<T, NotJson> {
    Err(NotJson("not a kind of value that lines are made of".to_owned()))
}

macro_rules! integers {
    ($($method:ident $type:ty),*) => {
        $(fn $method(mut self, value: $type) -> Result<(), NotJson> {
            self.integer(value.into());
            Ok(())
        })*
    };
}

macro_rules! unsupported {
    ($($method:ident($($type:ty),*) $result:ty),* $(,)?) => {
        $(fn $method(self, $(_: $type),*) -> Result<$result, NotJson> {
            unsupported()
        })*
    };
}

impl<'a> Serializer for JsonWriter<'a> {
    type Ok = ();
    type Error = NotJson;
    type SerializeSeq = Members<'a>;
    type SerializeTuple = Impossible<(), NotJson>;
    type SerializeTupleStruct = Impossible<(), NotJson>;
    type SerializeTupleVariant = Impossible<(), NotJson>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Impossible<(), NotJson>;

    integers!(serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64);

    unsupported! {
        serialize_i8(i8) (), serialize_i16(i16) (), serialize_i32(i32) (), serialize_bytes(&[u8]) (),
        serialize_unit_struct(&'static str) (), serialize_tuple(usize) Self::SerializeTuple,
        serialize_tuple_struct(&'static str, usize) Self::SerializeTupleStruct,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) Self::SerializeTupleVariant,
        serialize_struct_variant(&'static str, u32, &'static str, usize) Self::SerializeStructVariant,
    }

    fn serialize_bool(self, value: bool) -> Result<(), NotJson> {
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_i64(mut self, value: i64) -> Result<(), NotJson> {
        if value < 0 {
            self.0.push(b'-');
        }
        self.integer(value.unsigned_abs());
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), NotJson> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), NotJson> {
        serde_json::to_writer(self.0, &value).map_err(ser::Error::custom)
    }

    fn serialize_char(self, value: char) -> Result<(), NotJson> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(mut self, value: &str) -> Result<(), NotJson> {
        self.text(value);
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(mut self, value: &T) -> Result<(), NotJson> {
        let mut text = String::new();
        write!(text, "{value}").map_err(ser::Error::custom)?;
        self.text(&text);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), NotJson> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotJson> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotJson> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_variant(mut self, _: &'static str, _: u32, variant: &'static str) -> Result<(), NotJson> {
        self.text(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), NotJson> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), NotJson> {
        unsupported()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'a>, NotJson> {
        self.0.push(b'[');
        Ok(Members { to: self, is_empty: true, end: b']' })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, NotJson> {
        self.0.push(b'{');
        Ok(Members { to: self, is_empty: true, end: b'}' })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, NotJson> {
        self.serialize_map(None)
    }
}

impl SerializeSeq for Members<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        self.separate();
        self.write(value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.close();
        Ok(())
    }
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotJson> {
        self.separate();
        let start = self.to.0.len();
        self.write(key)?;
        if self.to.0.get(start) != Some(&b'"') {
            return unsupported();
        }
        self.to.0.push(b':');
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        self.write(value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.close();
        Ok(())
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NotJson> {
        self.separate();
        self.to.name(name);
        self.write(value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn written(value: &impl Serialize) -> Result<String, NotJson> {
        let mut json = Vec::new();
        value.serialize(JsonWriter(&mut json))?;
        Ok(String::from_utf8(json).unwrap())
    }

    /// What `serde_json` writes, with the characters escaped afterwards that it does not escape.
    fn expected(value: &impl Serialize) -> String {
        let escape = |char: char| {
            let units = char.encode_utf16(&mut [0; 2]).to_vec();
            if obeyed_by_terminals(char) {
                units.iter().fold(String::new(), |text, unit| text + &format!("\\u{unit:04x}"))
            } else {
                char.to_string()
            }
        };
        serde_json::to_string(value).unwrap().chars().map(escape).collect()
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
            "[\u{0}-\u{a0}\u{2028}\u{202e}\u{feff}😀\"\\\\]{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,5}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_is_what_serde_json_writes_and_has_nothing_that_a_terminal_obeys(value in values()) {
            let json = written(&value).unwrap();
            prop_assert_eq!(&json, &expected(&value));
            prop_assert!(!json.contains(obeyed_by_terminals));
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        }
    }

    #[test]
    fn other_values_are_errors() {
        assert!(written(&(1, 2)).is_err() && written(&BTreeMap::from([(1, 2)])).is_err());
        assert!(written(&[1_u8, 2]).is_err(), "an array is a tuple");
        assert_eq!(written(&[1_u8, 2].as_slice()).unwrap(), "[1,2]");
        assert_eq!(written(&(u64::MAX, ())).unwrap_err().to_string(), "not a kind of value that lines are made of");
    }
}
