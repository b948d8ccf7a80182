//! Numbers with three decimals, the precision that Kubernetes gives metrics.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// Largest number: beyond it a float no longer tells thousandths apart.
const MAX: f64 = 1e12;

/// A number from 0 on, counted in thousandths, as Kubernetes' quantities are where metrics are compared. In files it is
/// a number, as in `20` or `0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    milli: u64,
}

impl Quantity {
    /// So many thousandths.
    #[must_use]
    pub const fn from_milli(milli: u64) -> Self {
        Self { milli }
    }

    /// A whole number.
    #[must_use]
    pub const fn whole(number: u32) -> Self {
        Self { milli: number as u64 * 1_000 }
    }

    /// In thousandths.
    #[must_use]
    pub const fn milli(self) -> u64 {
        self.milli
    }

    /// As a float, as controllers calculate with it.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.milli as f64 / 1_000.0
    }

    /// `None`: negative, too large or too fine.
    fn from_f64(number: f64) -> Option<Self> {
        let milli = (number * 1_000.0).round();
        let is_near = (number * 1_000.0 - milli).abs() < 1e-6 * milli.max(1.0);
        ((0.0..=MAX).contains(&number) && is_near).then_some(Self { milli: milli as u64 })
    }
}

/// A text that is no such number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no number from 0 on with at most three decimals")]
pub struct NoQuantity(String);

/// As in Kubernetes' files: `20`, `0.5`, or with `m` for thousandths, `500m`.
impl FromStr for Quantity {
    type Err = NoQuantity;

    fn from_str(text: &str) -> Result<Self, NoQuantity> {
        let parsed = match text.strip_suffix('m') {
            Some(milli) => milli.parse().ok().map(Self::from_milli),
            None => text.parse().ok().and_then(Self::from_f64),
        };
        parsed.ok_or_else(|| NoQuantity(text.to_owned()))
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.milli.is_multiple_of(1_000) {
            serializer.serialize_u64(self.milli / 1_000)
        } else {
            serializer.serialize_f64(self.as_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 on with at most three decimals")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                let found = u64::try_from(number).ok().and_then(|number| Quantity::from_f64(number as f64));
                found.ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Quantity::from_f64(number as f64)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                Quantity::from_f64(number).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_a_number_in_a_file_and_the_same_again_when_read() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct File {
            value: Quantity,
        }
        for (text, milli) in [("value = 20\n", 20_000), ("value = 0.5\n", 500), ("value = 0.001\n", 1)] {
            let file: File = toml::from_str(text).unwrap();
            assert_eq!(file.value.milli(), milli);
            assert_eq!(toml::to_string(&file).unwrap(), text);
        }
        for text in ["value = -1", "value = 0.0005", "value = 1e13", "value = nan", "value = \"many\""] {
            assert!(toml::from_str::<File>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn thousandths_may_be_written_as_kubernetes_does() {
        assert_eq!("50m".parse(), Ok(Quantity::from_milli(50)));
        assert_eq!("0.05".parse(), Ok(Quantity::from_milli(50)));
        assert_eq!("50k".parse::<Quantity>(), Err(NoQuantity("50k".into())));
    }
}
