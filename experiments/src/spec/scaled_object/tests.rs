use super::{super::Autoscaler, *};

const FULL: &str = r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: task-workers
  namespace: shop
  labels: { team: labels }
spec:
  scaleTargetRef:
    name: task-workers
  pollingInterval: 10
  cooldownPeriod: 120
  minReplicaCount: 2
  maxReplicaCount: 40
  advanced:
    restoreToOriginalReplicaCount: true
    horizontalPodAutoscalerConfig:
      name: task-workers
      behavior:
        scaleUp:
          stabilizationWindowSeconds: 0
          selectPolicy: Min
          policies:
            - type: Pods
              value: 8
              periodSeconds: 15
        scaleDown:
          stabilizationWindowSeconds: 60
          tolerance: 50m
          policies:
            - { type: Percent, value: 50, periodSeconds: 30 }
  triggers:
    - type: rabbitmq
      name: backlog
      metadata:
        queueName: task_queue
        mode: QueueLength
        value: "12.5"
        activationValue: "3"
        host: http://guest:guest@rabbitmq:15672/
        excludeUnacknowledged: "true"
      authenticationRef:
        name: rabbitmq
"#;

fn autoscaler(yaml: &str) -> Autoscaler {
    read(yaml).unwrap_or_else(|error| panic!("{error}")).try_into().unwrap()
}

/// A ScaledObject with these lines in its trigger's metadata and at the end.
fn small(metadata: &str, rest: &str) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: a}}\nspec:\n  scaleTargetRef: {{name: \
         a}}\n  triggers:\n    - type: rabbitmq\n      metadata: {{{metadata}}}\n{rest}"
    )
}

#[test]
fn a_scaled_object_is_read_whole() {
    let policy = |kind, value, period_s| vec![Policy { kind, value, period_s }];
    let expected = Autoscaler {
        polling_interval_s: 10,
        cooldown_period_s: 120,
        min_replica_count: 2,
        max_replica_count: 40,
        triggers: vec![Trigger {
            queue: "task_queue".into(),
            mode: Mode::QueueLength,
            value: Quantity::from_milli(12_500),
            activation_value: Quantity::whole(3),
            protocol: Protocol::Http,
            exclude_unacknowledged: true,
        }],
        behavior: Some(Behavior {
            scale_up: ScalingRules {
                stabilization_window_s: Some(0),
                select_policy: SelectPolicy::Min,
                tolerance: None,
                policies: policy(PolicyKind::Pods, 8, 15),
            },
            scale_down: ScalingRules {
                stabilization_window_s: Some(60),
                select_policy: SelectPolicy::Max,
                tolerance: Some(Quantity::from_milli(50)),
                policies: policy(PolicyKind::Percent, 50, 30),
            },
        }),
        ..Autoscaler::default()
    };
    assert_eq!(autoscaler(FULL), expected);
}

#[test]
fn what_a_scaled_object_leaves_out_has_kedas_defaults() {
    let trigger = |queue: &str| Trigger {
        queue: queue.into(),
        mode: Mode::QueueLength,
        value: Quantity::whole(20),
        activation_value: Quantity::default(),
        protocol: Protocol::Amqp,
        exclude_unacknowledged: false,
    };
    let expected = Autoscaler { triggers: vec![trigger("q")], ..Autoscaler::default() };
    assert_eq!(autoscaler(&small("queueName: q, host: 'amqp://rabbitmq'", "")), expected);
    let old = autoscaler(&small("queueName: q, protocol: amqp, queueLength: '5'", ""));
    assert_eq!((old.triggers[0].mode, old.triggers[0].value), (Mode::QueueLength, Quantity::whole(5)));
}

#[test]
fn what_would_count_replicas_otherwise_is_refused_by_name() {
    let metadata = "queueName: q, protocol: http";
    let cases = [
        (small(metadata, "  fallback: {failureThreshold: 3, replicas: 6}"), "has a `fallback`"),
        (small(metadata, "  advanced: {scalingModifiers: {formula: a}}"), "has `scalingModifiers`"),
        (small(metadata, "      metricType: Value"), "has `metricType: Value`"),
        (small(metadata, "      useCachedMetrics: true"), "has `useCachedMetrics`"),
        (small("queueName: q, hostFromEnv: RABBIT", ""), "does not say how RabbitMQ is asked"),
        (small("queueName: q, protocol: http, useRegex: 'true'", ""), "has `useRegex`"),
        (small("queueName: q, protocol: http, operation: max", ""), "has `operation`"),
        (small("queueName: q, protocol: http, mode: Length, value: '1'", ""), "has `mode: Length`"),
        (small("queueName: q, protocol: http, value: '1'", ""), "`value` and without `mode`"),
        (small("queueName: q, protocol: http, mode: QueueLength, value: 'x'", ""), "no number"),
        (small("protocol: http", ""), "without `queueName`"),
        (small(metadata, "").replace("type: rabbitmq", "type: cpu"), "of type `cpu`"),
        (small(metadata, "").replace("ScaledObject", "ScaledJob"), "is a ScaledJob"),
        (small(metadata, "  polingInterval: 5"), "polingInterval"),
        (
            small(metadata, "").replace("{name: a}\nspec", "{annotations: {autoscaling.keda.sh/paused: 'true'}}\nspec"),
            "which overrules KEDA",
        ),
    ];
    for (yaml, expected) in cases {
        let error = read(&yaml).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}\n{yaml}");
    }
}
