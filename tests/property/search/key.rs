//! A state's normal form, as a hash: two states with one key go on the same way.
//!
//! The core is serialised whole, as for a mark, into a hasher. On the way every number is looked at: times become
//! times from now, and numbers that only have to differ (operations, fences, turns, status sequence) are counted anew
//! in the order in which they appear. Each kind is known by its range, because the search lets each begin at a place
//! of its own. What only ever shows or tells something (since when, said lately) is left out.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use relay_runner_core::Stamp;
use serde::Serialize;
use serde::ser::{self, Serializer};

use crate::world::{MONO, WALL};

/// Deadlines that lie further away than any run are as good as none.
pub(crate) const FAR: u64 = 1 << 44;
/// What is older than every limit that is counted from it is as old as can be.
const OLD: u64 = 30 * 60_000;
/// The same for single fields.
const AGES: [(&str, u64); 5] =
    [("again", 5_000), ("spawned_at", 30_000), ("up_since", 60_000), ("died", 1_000), ("lost", 1_000)];
/// Times of which it matters only that they have passed.
const PASSED: [(&str, &str); 6] = [
    ("Item", "not_before"),
    ("Report", "not_before"),
    ("Lease", "mono"),
    ("Lease", "wall"),
    ("Holder", "until"),
    ("Open", "until"),
];
/// Where the numbers begin that only have to differ.
pub(crate) const OPERATIONS: u64 = 1 << 30;
pub(crate) const TURNS: u64 = 1 << 34;
pub(crate) const STATUSES: u64 = 1 << 35;
const END_OF_NUMBERS: u64 = 1 << 37;

/// Fields that decide nothing: derived from others, or for people.
const SHOWN: [(&str, &str); 11] = [
    ("Core", "config"),
    ("Core", "now"),
    ("Core", "troubles"),
    ("Deadlines", "least"),
    ("Ops", "least"),
    ("Open", "since"),
    ("Entry", "timestamp"),
    ("Known", "at"),
    ("Status", "action"),
    ("Approval", "since"),
    ("Mail", "message"),
];

/// Counters of changes: it matters only whether they equal what was said last.
const VERSIONS: [(&str, &str, u8); 10] = [
    ("Listed", "version", 1),
    ("Said", "work", 1),
    ("Approvals", "version", 2),
    ("Said", "approvals", 2),
    ("Commands", "version", 3),
    ("Said", "commands", 3),
    ("Status", "timeline_version", 4),
    ("Said", "timeline", 4),
    ("Credential", "version", 5),
    ("Said", "credential", 5),
];

#[derive(Debug)]
pub(crate) struct Key {
    hasher: (DefaultHasher, DefaultHasher),
    now: Stamp,
    /// Numbers met so far, by kind, in the order in which they appeared.
    met: BTreeMap<(u8, u64), u64>,
    structure: &'static str,
    field: &'static str,
    /// The stage of the message that is being read.
    ambiguous: bool,
}

pub(crate) fn key(parts: &[&dyn erased::Part], now: Stamp) -> u128 {
    let mut key = Key {
        hasher: (DefaultHasher::new(), DefaultHasher::new()),
        now,
        met: BTreeMap::new(),
        structure: "",
        field: "",
        ambiguous: false,
    };
    0xa5_u8.hash(&mut key.hasher.1);
    for part in parts {
        part.feed(&mut key);
    }
    (u128::from(key.hasher.0.finish()) << 64) | u128::from(key.hasher.1.finish())
}

/// Parts of different types, one after the other, in one numbering.
pub(crate) mod erased {
    use super::Key;
    use serde::Serialize;

    pub(crate) trait Part {
        fn feed(&self, key: &mut Key);
    }

    impl<T: Serialize> Part for T {
        fn feed(&self, key: &mut Key) {
            self.serialize(key).expect("feeding a hasher cannot fail");
        }
    }
}

impl Key {
    fn put(&mut self, value: impl Hash) {
        value.hash(&mut self.hasher.0);
        value.hash(&mut self.hasher.1);
    }

    fn number(&mut self, n: u64) {
        if let Some((.., kind)) = VERSIONS.iter().find(|(of, field, _)| (*of, *field) == (self.structure, self.field)) {
            return self.counted(*kind, n);
        }
        match n {
            u64::MAX => self.put(u64::MAX),
            WALL.. => self.time(n, self.now.wall),
            MONO.. => self.time(n, self.now.mono),
            // Operations, fences, turns, status numbers.
            _ if (OPERATIONS..END_OF_NUMBERS).contains(&n) => self.counted(u8::try_from(n.ilog2()).unwrap_or(0), n),
            _ => self.put(n),
        }
    }

    fn counted(&mut self, kind: u8, n: u64) {
        let next = self.met.len() as u64;
        let name = *self.met.entry((kind, n)).or_insert(next);
        self.put((kind, name));
    }

    fn time(&mut self, at: u64, now: u64) {
        let place = (self.structure, self.field);
        if at > now {
            self.put((b'+', (at - now).min(FAR)));
        } else if PASSED.contains(&place) || (place == ("Item", "since") && !self.ambiguous) {
            self.put(b'-');
        } else {
            let most = AGES.iter().find(|(field, _)| *field == self.field).map_or(OLD, |(_, most)| *most);
            self.put((b'-', (now - at).min(most)));
        }
    }

    fn enter(&mut self, structure: &'static str) -> Inside<'_> {
        let outer = (self.structure, self.field);
        self.structure = structure;
        Inside { key: self, outer }
    }
}

/// Inside a structure, a list or a variant.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    key: &'a mut Key,
    outer: (&'static str, &'static str),
}

impl Inside<'_> {
    fn member<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Result<(), std::fmt::Error> {
        let structure = self.key.structure;
        if SHOWN.contains(&(structure, field)) {
            return Ok(());
        }
        self.key.field = field;
        value.serialize(&mut *self.key)?;
        self.key.structure = structure;
        Ok(())
    }

    fn leave(self) {
        (self.key.structure, self.key.field) = self.outer;
        self.key.put(0xff_u8);
    }
}

type Done = Result<(), std::fmt::Error>;

impl<'a> Serializer for &'a mut Key {
    type Ok = ();
    type Error = std::fmt::Error;
    type SerializeSeq = Inside<'a>;
    type SerializeTuple = Inside<'a>;
    type SerializeTupleStruct = Inside<'a>;
    type SerializeTupleVariant = Inside<'a>;
    type SerializeMap = Inside<'a>;
    type SerializeStruct = Inside<'a>;
    type SerializeStructVariant = Inside<'a>;

    fn serialize_bool(self, v: bool) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_i8(self, v: i8) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_i16(self, v: i16) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_i32(self, v: i32) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_i64(self, v: i64) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_u8(self, v: u8) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_u16(self, v: u16) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_u32(self, v: u32) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_u64(self, v: u64) -> Done {
        self.number(v);
        Ok(())
    }
    fn serialize_f32(self, v: f32) -> Done {
        self.put(v.to_bits());
        Ok(())
    }
    fn serialize_f64(self, v: f64) -> Done {
        self.put(v.to_bits());
        Ok(())
    }
    fn serialize_char(self, v: char) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_str(self, v: &str) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_bytes(self, v: &[u8]) -> Done {
        self.put(v);
        Ok(())
    }
    fn serialize_none(self) -> Done {
        self.put(0_u8);
        Ok(())
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.put(1_u8);
        value.serialize(self)
    }
    fn serialize_unit(self) -> Done {
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Done {
        Ok(())
    }
    fn serialize_unit_variant(self, _: &'static str, index: u32, variant: &'static str) -> Done {
        if (self.structure, self.field) == ("Item", "stage") {
            self.ambiguous = variant == "ambiguous";
        }
        self.put(index);
        Ok(())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Done {
        self.put(index);
        value.serialize(self)
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Inside<'a>, std::fmt::Error> {
        self.put(len);
        Ok(self.enter(self.structure))
    }
    fn serialize_tuple(self, _: usize) -> Result<Inside<'a>, std::fmt::Error> {
        Ok(self.enter(self.structure))
    }
    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Inside<'a>, std::fmt::Error> {
        Ok(self.enter(name))
    }
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Inside<'a>, std::fmt::Error> {
        self.put(index);
        Ok(self.enter(name))
    }
    fn serialize_map(self, len: Option<usize>) -> Result<Inside<'a>, std::fmt::Error> {
        self.put(len);
        Ok(self.enter(self.structure))
    }
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Inside<'a>, std::fmt::Error> {
        Ok(self.enter(name))
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Inside<'a>, std::fmt::Error> {
        self.put(index);
        Ok(self.enter(name))
    }
}

/// Elements keep the field of what they are in; members have their own.
macro_rules! elements {
    ($($of:ident, $element:ident;)*) => {$(
        impl ser::$of for Inside<'_> {
            type Ok = ();
            type Error = std::fmt::Error;
            fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                let place = (self.key.structure, self.key.field);
                value.serialize(&mut *self.key)?;
                (self.key.structure, self.key.field) = place;
                Ok(())
            }
            fn end(self) -> Done {
                self.leave();
                Ok(())
            }
        }
    )*};
}

elements! {
    SerializeSeq, serialize_element;
    SerializeTuple, serialize_element;
    SerializeTupleStruct, serialize_field;
    SerializeTupleVariant, serialize_field;
}

impl ser::SerializeMap for Inside<'_> {
    type Ok = ();
    type Error = std::fmt::Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        ser::SerializeSeq::serialize_element(self, key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Done {
        self.leave();
        Ok(())
    }
}

impl ser::SerializeStruct for Inside<'_> {
    type Ok = ();
    type Error = std::fmt::Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Done {
        self.member(field, value)
    }
    fn end(self) -> Done {
        self.leave();
        Ok(())
    }
}

impl ser::SerializeStructVariant for Inside<'_> {
    type Ok = ();
    type Error = std::fmt::Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Done {
        self.member(field, value)
    }
    fn end(self) -> Done {
        self.leave();
        Ok(())
    }
}
