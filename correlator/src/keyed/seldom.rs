//! A part of the state that nearly every key is without.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What such a part offers.
pub(crate) trait Part: Default {
    fn is_default(&self) -> bool;
}

/// A default value that takes a pointer until it becomes something else. Written as if it stood in its place.
#[derive(Debug, Clone)]
pub(crate) struct Seldom<T>(Option<Box<T>>);

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Part> Seldom<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// What is there already, to be changed.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    pub(crate) fn make(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// Goes back to a pointer where no more than a default is left.
    pub(crate) fn tidy(&mut self) {
        self.0.take_if(|value| value.is_default());
    }
}

impl<T: Part + Serialize> Serialize for Seldom<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(value) => value.serialize(serializer),
            None => T::default().serialize(serializer),
        }
    }
}

impl<'de, T: Part + Deserialize<'de>> Deserialize<'de> for Seldom<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut read = Self(Some(Box::new(T::deserialize(deserializer)?)));
        read.tidy();
        Ok(read)
    }
}
