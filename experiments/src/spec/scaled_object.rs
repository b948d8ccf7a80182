//! Reads a ScaledObject as it is given to Kubernetes: YAML of `keda.sh/v1alpha1` into the fields of an
//! [`Autoscaler`](super::Autoscaler).
//!
//! Sources: KEDA's documentation, "ScaledObject specification" and "RabbitMQ Queue", and its types
//! (`apis/keda/v1alpha1/scaledobject_types.go`, `pkg/scalers/rabbitmq_scaler.go`). What can't matter here is accepted:
//! where the broker is, and who logs in. What would change how replicas are counted, and is not modelled, is refused.

use super::{Behavior, Mode, Policy, PolicyKind, Protocol, Quantity, ScalingRules, SelectPolicy, Trigger};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::collections::BTreeMap;

/// Annotations with which people overrule KEDA.
const OVERRULING: &str = "autoscaling.keda.sh/";
/// Keys of a trigger's metadata that say where the broker is, who logs in, or how.
const ELSEWHERE: [&str; 10] = [
    "host",
    "hostFromEnv",
    "vhostName",
    "vhostNameFromEnv",
    "username",
    "usernameFromEnv",
    "password",
    "passwordFromEnv",
    "tls",
    "unsafeSsl",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScaledObject {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
    #[serde(default, rename = "status")]
    _status: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(rename = "scaleTargetRef")]
    _scale_target_ref: IgnoredAny,
    polling_interval: Option<u32>,
    cooldown_period: Option<u32>,
    initial_cooldown_period: Option<u32>,
    idle_replica_count: Option<u32>,
    min_replica_count: Option<u32>,
    max_replica_count: Option<u32>,
    fallback: Option<IgnoredAny>,
    advanced: Option<Advanced>,
    triggers: Vec<KedaTrigger>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advanced {
    /// What happens after the ScaledObject was deleted.
    #[serde(default, rename = "restoreToOriginalReplicaCount")]
    _restore: Option<IgnoredAny>,
    scaling_modifiers: Option<IgnoredAny>,
    horizontal_pod_autoscaler_config: Option<HpaConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HpaConfig {
    #[serde(default, rename = "name")]
    _name: Option<IgnoredAny>,
    behavior: Option<KedaBehavior>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KedaBehavior {
    #[serde(default)]
    scale_up: KedaRules,
    #[serde(default)]
    scale_down: KedaRules,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct KedaRules {
    stabilization_window_seconds: Option<u32>,
    select_policy: Option<KedaSelect>,
    tolerance: Option<Quantity>,
    policies: Vec<KedaPolicy>,
}

#[derive(Clone, Copy, Deserialize)]
enum KedaSelect {
    Max,
    Min,
    Disabled,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KedaPolicy {
    #[serde(rename = "type")]
    kind: KedaPolicyKind,
    value: u32,
    period_seconds: u32,
}

#[derive(Clone, Copy, Deserialize)]
enum KedaPolicyKind {
    Pods,
    Percent,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KedaTrigger {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, rename = "name")]
    _name: Option<IgnoredAny>,
    #[serde(default, rename = "authenticationRef")]
    _authentication_ref: Option<IgnoredAny>,
    #[serde(default)]
    use_cached_metrics: bool,
    #[serde(default = "average_value")]
    metric_type: String,
    /// Strings all, as Kubernetes wants them; what is a number here is taken for its text.
    metadata: BTreeMap<String, String>,
}

fn average_value() -> String {
    "AverageValue".to_owned()
}

/// What an [`Autoscaler`](super::Autoscaler) takes over; what the file leaves out is left out.
#[derive(Serialize)]
struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    polling_interval_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cooldown_period_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_cooldown_period_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_replica_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_replica_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_replica_count: Option<u32>,
    triggers: Vec<Trigger>,
    #[serde(skip_serializing_if = "Option::is_none")]
    behavior: Option<Behavior>,
}

/// The fields that the ScaledObject in `yaml` sets, as TOML.
///
/// # Errors
/// A sentence that says what is wrong, or what is not modelled.
pub(super) fn read(yaml: &str) -> Result<toml::Table, String> {
    let object: ScaledObject = serde_saphyr::from_str(yaml).map_err(|error| first_line(&error))?;
    if object.api_version != "keda.sh/v1alpha1" || object.kind != "ScaledObject" {
        let (version, kind) = (&object.api_version, &object.kind);
        return Err(format!("is a {kind} of {version}; expected a ScaledObject of keda.sh/v1alpha1"));
    }
    if let Some(annotation) = object.metadata.annotations.keys().find(|key| key.starts_with(OVERRULING)) {
        return Err(format!("has the annotation `{annotation}`, which overrules KEDA; take it out"));
    }
    let spec = object.spec;
    if spec.fallback.is_some() {
        return Err("has a `fallback`, which is not modelled; take it out".into());
    }
    let behavior = spec.advanced.map(behavior).transpose()?.flatten();
    let triggers = spec.triggers.into_iter().map(trigger).collect::<Result<_, _>>()?;
    let said = Said {
        polling_interval_s: spec.polling_interval,
        cooldown_period_s: spec.cooldown_period,
        initial_cooldown_period_s: spec.initial_cooldown_period,
        idle_replica_count: spec.idle_replica_count,
        min_replica_count: spec.min_replica_count,
        max_replica_count: spec.max_replica_count,
        triggers,
        behavior,
    };
    toml::Table::try_from(said).map_err(|error| error.to_string())
}

/// What is wrong and where, without the lines of the file that the parser shows.
fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn behavior(advanced: Advanced) -> Result<Option<Behavior>, String> {
    if advanced.scaling_modifiers.is_some() {
        return Err("has `scalingModifiers`, which are not modelled; take them out".into());
    }
    let behavior = advanced.horizontal_pod_autoscaler_config.and_then(|config| config.behavior);
    Ok(behavior.map(|KedaBehavior { scale_up, scale_down }| Behavior {
        scale_up: scale_up.into(),
        scale_down: scale_down.into(),
    }))
}

impl From<KedaRules> for ScalingRules {
    fn from(rules: KedaRules) -> Self {
        let policy = |policy: KedaPolicy| Policy {
            kind: match policy.kind {
                KedaPolicyKind::Pods => PolicyKind::Pods,
                KedaPolicyKind::Percent => PolicyKind::Percent,
            },
            value: policy.value,
            period_s: policy.period_seconds,
        };
        Self {
            stabilization_window_s: rules.stabilization_window_seconds,
            select_policy: match rules.select_policy {
                None | Some(KedaSelect::Max) => SelectPolicy::Max,
                Some(KedaSelect::Min) => SelectPolicy::Min,
                Some(KedaSelect::Disabled) => SelectPolicy::Disabled,
            },
            tolerance: rules.tolerance,
            policies: rules.policies.into_iter().map(policy).collect(),
        }
    }
}

fn trigger(trigger: KedaTrigger) -> Result<Trigger, String> {
    if trigger.kind != "rabbitmq" {
        return Err(format!("has a trigger of type `{}`; only `rabbitmq` is modelled", trigger.kind));
    }
    if trigger.metric_type != average_value() {
        let kind = trigger.metric_type;
        return Err(format!("has `metricType: {kind}`; only AverageValue, KEDA's default, is modelled"));
    }
    if trigger.use_cached_metrics {
        return Err("has `useCachedMetrics`, which is not modelled; take it out".into());
    }
    let mut metadata = trigger.metadata;
    let protocol = protocol(&mut metadata)?;
    ELSEWHERE.iter().for_each(|key| drop(metadata.remove(*key)));
    if flag(&mut metadata, "useRegex")? {
        return Err("has `useRegex`, which is not modelled; name one queue".into());
    }
    let queue = metadata.remove("queueName").ok_or("has a trigger without `queueName`")?;
    let exclude_unacknowledged = flag(&mut metadata, "excludeUnacknowledged")?;
    let (mode, value) = (metadata.remove("mode"), number(&mut metadata, "value")?);
    let length = number(&mut metadata, "queueLength")?;
    let activation_value = number(&mut metadata, "activationValue")?.unwrap_or_default();
    if let Some(key) = metadata.keys().next() {
        return Err(format!("has `{key}` in a trigger's metadata, which is not known, or not modelled; take it out"));
    }
    let (mode, value) = match (mode.as_deref(), value, length) {
        (None, None, None) => (Mode::QueueLength, Quantity::whole(20)),
        (None, None, Some(length)) => (Mode::QueueLength, length),
        (Some(name), Some(value), None) => (mode_of(name)?, value),
        (None, Some(_), None) => return Err("has a trigger with `value` and without `mode`".into()),
        (Some(_), None, None) => return Err("has a trigger with `mode` and without `value`".into()),
        (_, _, Some(_)) => return Err("has `queueLength`, which is for triggers without `mode` and `value`".into()),
    };
    Ok(Trigger { queue, mode, value, activation_value, protocol, exclude_unacknowledged })
}

/// As KEDA finds it: by the scheme of the broker's address, unless it is given.
fn protocol(metadata: &mut BTreeMap<String, String>) -> Result<Protocol, String> {
    let given = metadata.remove("protocol");
    let scheme = metadata.get("host").and_then(|host| host.split_once("://")).map(|(scheme, _)| scheme);
    match (given.as_deref(), scheme) {
        (Some("amqp"), _) | (None | Some("auto"), Some("amqp" | "amqps")) => Ok(Protocol::Amqp),
        (Some("http"), _) | (None | Some("auto"), Some("http" | "https")) => Ok(Protocol::Http),
        (None | Some("auto"), _) => Err(
            "does not say how RabbitMQ is asked: give the trigger's metadata `protocol: amqp` or `protocol: http`, \
                 or a `host` with a scheme"
                .into(),
        ),
        (Some(other), _) => Err(format!("has `protocol: {other}`; expected amqp, http or auto")),
    }
}

fn mode_of(name: &str) -> Result<Mode, String> {
    Ok(match name {
        "QueueLength" => Mode::QueueLength,
        "MessageRate" => Mode::MessageRate,
        "DeliverGetRate" => Mode::DeliverGetRate,
        "PublishedToDeliveredRatio" => Mode::PublishedToDeliveredRatio,
        "ExpectedQueueConsumptionTime" => Mode::ExpectedQueueConsumptionTime,
        other => {
            return Err(format!(
                "has `mode: {other}`; KEDA knows QueueLength, MessageRate, DeliverGetRate, PublishedToDeliveredRatio \
                 and ExpectedQueueConsumptionTime"
            ));
        }
    })
}

fn number(metadata: &mut BTreeMap<String, String>, key: &str) -> Result<Option<Quantity>, String> {
    let text = metadata.remove(key);
    text.map(|text| text.parse().map_err(|error| format!("has a `{key}` that is none: {error}"))).transpose()
}

fn flag(metadata: &mut BTreeMap<String, String>, key: &str) -> Result<bool, String> {
    match metadata.remove(key).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("has `{key}: {other}`; expected \"true\" or \"false\"")),
    }
}

#[cfg(test)]
mod tests;
