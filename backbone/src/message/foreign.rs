//! What gateways write. They are other people's: they add fields of their own, and a single value may be wrong. What is
//! good counts; what is left out is counted and named. Our own messages are parsed strictly.

use super::{Mac, Message, MessageError, Reply, RssiReport, id::shorten};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use std::{fmt, ops::RangeInclusive};

/// What a BLE receiver can measure, in dBm. 127 stands for "no reading" (HCI's LE Advertising Report), some radios
/// say 0, 20 or -127, and nothing arrives as strongly as it was sent.
const READING_DBM: RangeInclusive<i64> = -126..=-1;

/// The parts of a message that were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// How many.
    pub(crate) parts: usize,
    /// The first of them, for people.
    pub(crate) example: String,
}

impl LeftOut {
    fn add(&mut self, part: &dyn fmt::Display) {
        if self.parts == 0 {
            self.example = part.to_string();
        }
        self.parts += 1;
    }
}

impl Reply {
    /// Parses what a gateway has answered; fields that we don't know are left out.
    pub(crate) fn parse_foreign(bytes: &[u8]) -> Result<(Self, LeftOut), MessageError> {
        let strict = match Self::parse(bytes) {
            Err(error @ MessageError::Json { .. }) => error,
            parsed => return parsed.map(|reply| (reply, LeftOut::default())),
        };
        let mut left_out = LeftOut::default();
        let known = known_fields(bytes, &["request_id", "esl_mac", "status", "detail"], &mut left_out);
        match known.map(serde_json::from_value) {
            Some(Ok(reply)) => Ok((reply, left_out)),
            _ => Err(strict),
        }
    }
}

impl RssiReport {
    /// Parses what a gateway has heard; fields that we don't know, and readings that are none, are left out.
    pub(crate) fn parse_foreign(bytes: &[u8]) -> Result<(Self, LeftOut), MessageError> {
        let mut left_out = LeftOut::default();
        let mut report = match Self::parse(bytes) {
            Ok(report) => report,
            Err(strict @ MessageError::Json { .. }) => Self::good_parts(bytes, &mut left_out).ok_or(strict)?,
            Err(error) => return Err(error),
        };
        report.labels.retain(|(label, dbm)| {
            let is_reading = READING_DBM.contains(&i64::from(*dbm));
            if !is_reading {
                left_out.add(&format_args!("{dbm} dBm for {label}"));
            }
            is_reading
        });
        Ok((report, left_out))
    }

    /// `None`: what is known of a report is not there, or makes no sense.
    fn good_parts(bytes: &[u8], left_out: &mut LeftOut) -> Option<Self> {
        let mut fields = match known_fields(bytes, &["heard_unix_ms", "labels"], left_out)? {
            Value::Object(fields) => fields,
            _ => return None,
        };
        let heard_unix_ms = fields.get("heard_unix_ms")?.as_u64()?;
        let Value::Array(readings) = fields.remove("labels")? else { return None };
        if readings.len() > super::RSSI_LABELS_MAX {
            return None;
        }
        let mut labels = Vec::with_capacity(readings.len());
        for reading in readings {
            match <(Mac, i8)>::deserialize(&reading) {
                Ok(reading) => labels.push(reading),
                Err(_) => left_out.add(&format_args!("the reading {}", shorten(&reading.to_string()))),
            }
        }
        Some(Self { heard_unix_ms, labels })
    }
}

/// The fields out of `known` that a JSON object has. `None`: it is none.
fn known_fields(bytes: &[u8], known: &[&str], left_out: &mut LeftOut) -> Option<Value> {
    let fields: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let is_known = |(name, _): &(String, Value)| {
        let is_known = known.contains(&name.as_str());
        if !is_known {
            left_out.add(&format_args!("the field `{}`", shorten(name)));
        }
        is_known
    };
    Some(Value::Object(fields.into_iter().filter(is_known).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{RSSI_LABELS_MAX, Status};

    fn report(labels: &str) -> (Vec<i8>, LeftOut) {
        let text = format!(r#"{{"heard_unix_ms":9,"labels":{labels}}}"#);
        let (report, left_out) = RssiReport::parse_foreign(text.as_bytes()).unwrap();
        (report.labels.into_iter().map(|(_, dbm)| dbm).collect(), left_out)
    }

    #[test]
    fn a_sentinel_is_no_reading_and_the_others_count() {
        for sentinel in ["127", "0", "20", "-127", "-128"] {
            let labels = format!(r#"[["00:11:22:33:44:55",-67],["00:11:22:33:44:66",{sentinel}]]"#);
            let (readings, left_out) = report(&labels);
            assert_eq!((readings, left_out.parts), (vec![-67], 1), "{sentinel}");
            assert_eq!(left_out.example, format!("{sentinel} dBm for 00:11:22:33:44:66"));
        }
    }

    #[test]
    fn a_reading_that_makes_no_sense_costs_itself_and_not_the_report() {
        for odd in ["300", "null", "-60.5", "\"loud\""] {
            let (readings, left_out) = report(&format!(r#"[["00:11:22:33:44:55",{odd}],["00:11:22:33:44:66",-60]]"#));
            assert_eq!((readings, left_out.parts), (vec![-60], 1), "{odd}");
            assert!(left_out.example.contains(odd), "{}", left_out.example);
        }
        assert_eq!(report(r#"[["nobody",-60],-60,["00:11:22:33:44:66",-60]]"#).1.parts, 2);
    }

    #[test]
    fn fields_of_a_gateways_own_are_left_out_and_named() {
        let text = br#"{"heard_unix_ms":9,"labels":[["00:11:22:33:44:55",-67]],"firmware":"1.2"}"#;
        let (report, left_out) = RssiReport::parse_foreign(text).unwrap();
        assert_eq!((report.labels.len(), left_out.example.as_str()), (1, "the field `firmware`"));
        let text = br#"{"esl_mac":"00:11:22:33:44:55","status":"done","battery":87,"rssi":-60}"#;
        let (reply, left_out) = Reply::parse_foreign(text).unwrap();
        assert_eq!((reply.status, left_out.parts), (Status::Done, 2));
    }

    #[test]
    fn a_known_field_that_is_wrong_still_costs_the_message() {
        for text in [
            r#"{"esl_mac":"00:11:22:33:44:55","status":"fine","battery":87}"#,
            r#"{"status":"done"}"#,
            r#"["done"]"#,
            "",
        ] {
            assert!(Reply::parse_foreign(text.as_bytes()).is_err(), "{text}");
        }
        for text in [r#"{"heard_unix_ms":"now","labels":[]}"#, r#"{"heard_unix_ms":9,"labels":7}"#, r#"{"labels":[]}"#]
        {
            assert!(RssiReport::parse_foreign(text.as_bytes()).is_err(), "{text}");
        }
        let many = format!("[{}]", vec!["1"; RSSI_LABELS_MAX + 1].join(","));
        let text = format!(r#"{{"heard_unix_ms":9,"labels":{many}}}"#);
        assert!(RssiReport::parse_foreign(text.as_bytes()).is_err());
    }

    #[test]
    fn an_example_is_short_whatever_was_sent() {
        let text = format!(r#"{{"esl_mac":"00:11:22:33:44:55","status":"done","{}":1}}"#, "x".repeat(3_000));
        assert!(Reply::parse_foreign(text.as_bytes()).unwrap().1.example.len() < 100);
    }
}
