//! Kubernetes' HorizontalPodAutoscaler (autoscaling/v2) for external metrics with an `averageValue`, which is how KEDA
//! makes them.
//!
//! Source: Kubernetes' documentation, "Horizontal Pod Autoscaling", and `pkg/controller/podautoscaler` of 1.33:
//! `reconcileAutoscaler`, `normalizeDesiredReplicas`, `normalizeDesiredReplicasWithBehaviors` and
//! `GetExternalPerPodMetricReplicas`; the defaults of `behavior` are in `pkg/apis/autoscaling/v2/defaults.go`.

use crate::spec::{Autoscaler, Behavior, Policy, PolicyKind, Quantity, ScalingRules, SelectPolicy};

/// The controller's `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
/// The controller's `--horizontal-pod-autoscaler-downscale-stabilization`, also of a behavior that names none.
const DOWN_WINDOW_S: u32 = 300;
/// `scaleUpLimitFactor` and `scaleUpLimitMinimum`, for an HPA without behavior.
const UP_FACTOR: u32 = 2;
const UP_MIN: u32 = 4;
/// The policies of a behavior that names none.
const UP_POLICIES: [Policy; 2] = [
    Policy { kind: PolicyKind::Pods, value: 4, period_s: 15 },
    Policy { kind: PolicyKind::Percent, value: 100, period_s: 15 },
];
const DOWN_POLICIES: [Policy; 1] = [Policy { kind: PolicyKind::Percent, value: 100, period_s: 15 }];

/// Something that was at a time: a recommendation, or a change of so many replicas.
#[derive(Clone, Copy, Debug)]
struct At {
    us: u64,
    count: i64,
}

impl At {
    /// Whether it was within so many seconds before `now_us`. What is exactly so old is not.
    fn is_within(&self, s: u32, now_us: u64) -> bool {
        self.us + u64::from(s) * 1_000_000 > now_us
    }
}

/// What the controller remembers of one HPA.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hpa {
    recommendations: Vec<At>,
    /// Replicas that came.
    ups: Vec<At>,
    /// Replicas that went.
    downs: Vec<At>,
}

impl Hpa {
    /// One sync. `metrics_milli`: of each trigger, in thousandths; `None` for one that gave none. How many replicas
    /// there shall be from now on; `None`: as many as there are.
    pub(crate) fn sync(
        &mut self,
        rules: &Autoscaler,
        now_us: u64,
        current: u32,
        metrics_milli: &[Option<u64>],
    ) -> Option<u32> {
        // KEDA's HPA has no least number below 1, and one that is at 0 is KEDA's alone.
        let (min, max) = (rules.min_replica_count.max(1), rules.max_replica_count);
        if self.recommendations.is_empty() {
            self.recommendations.push(At { us: now_us, count: current.into() });
        }
        let desired = match current {
            0 => return None,
            _ if current > max => max,
            _ if current < min => min,
            _ => {
                let wanted = wanted(rules, current, metrics_milli)?;
                let desired = match &rules.behavior {
                    None => self.without_behavior(now_us, current, wanted, (min, max)),
                    Some(behavior) => self.with_behavior(behavior, now_us, current, wanted, (min, max)),
                };
                u32::try_from(desired).expect("within the least and the largest number")
            }
        };
        if desired == current {
            return None;
        }
        if let Some(behavior) = &rules.behavior {
            let (events, policies) = if desired > current {
                (&mut self.ups, policies(&behavior.scale_up, &UP_POLICIES))
            } else {
                (&mut self.downs, policies(&behavior.scale_down, &DOWN_POLICIES))
            };
            let longest_s = policies.iter().map(|policy| policy.period_s).max().unwrap_or_default();
            events.retain(|event| event.is_within(longest_s, now_us));
            events.push(At { us: now_us, count: i64::from(desired.abs_diff(current)) });
        }
        Some(desired)
    }

    /// `stabilizeRecommendation` and `convertDesiredReplicasWithRules`. Here a recommendation that is exactly as old as
    /// the window still counts.
    fn without_behavior(&mut self, now_us: u64, current: u32, wanted: i64, (min, max): (u32, u32)) -> i64 {
        self.recommendations.retain(|earlier| earlier.us + u64::from(DOWN_WINDOW_S) * 1_000_000 >= now_us);
        let highest = self.recommendations.iter().map(|earlier| earlier.count).fold(wanted, i64::max);
        self.recommendations.push(At { us: now_us, count: wanted });
        let limit = current.saturating_mul(UP_FACTOR).max(UP_MIN).min(max);
        // In this order, as the controller does: what is below the least number is not looked at twice.
        if highest < i64::from(min) { min.into() } else { highest.min(limit.into()) }
    }

    /// `stabilizeRecommendationWithBehaviors` and `convertDesiredReplicasWithBehaviorRate`.
    fn with_behavior(
        &mut self,
        behavior: &Behavior,
        now_us: u64,
        current: u32,
        wanted: i64,
        (min, max): (u32, u32),
    ) -> i64 {
        let Behavior { scale_up: up, scale_down: down } = behavior;
        let up_s = up.stabilization_window_s.unwrap_or_default();
        let down_s = down.stabilization_window_s.unwrap_or(DOWN_WINDOW_S);
        let within = |s| self.recommendations.iter().filter(move |earlier| earlier.is_within(s, now_us));
        let lowest = within(up_s).map(|earlier| earlier.count).fold(wanted, i64::min);
        let highest = within(down_s).map(|earlier| earlier.count).fold(wanted, i64::max);
        let current = i64::from(current);
        let stable = current.max(lowest).min(highest);
        self.recommendations.retain(|earlier| earlier.is_within(up_s.max(down_s), now_us));
        self.recommendations.push(At { us: now_us, count: wanted });
        match () {
            () if stable > current => stable.min(self.most(up, now_us, current).min(max.into())),
            () if stable < current => stable.max(self.least(down, now_us, current).max(min.into())),
            () => stable,
        }
    }

    /// The most replicas that the policies for going up allow now, `current` at least.
    fn most(&self, rules: &ScalingRules, now_us: u64, current: i64) -> i64 {
        let allowed = |policy: &Policy| {
            let start = self.at_start(policy, now_us, current);
            match policy.kind {
                PolicyKind::Pods => start + i64::from(policy.value),
                // Rounded up, or it might allow nothing at all.
                PolicyKind::Percent => (start as f64 * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i64,
            }
        };
        let allowed = policies(rules, &UP_POLICIES).iter().map(allowed);
        let limit = match rules.select_policy {
            SelectPolicy::Disabled => None,
            SelectPolicy::Min => allowed.min(),
            SelectPolicy::Max => allowed.max(),
        };
        limit.unwrap_or(current).max(current)
    }

    /// The fewest replicas that the policies for going down allow now, `current` at most.
    fn least(&self, rules: &ScalingRules, now_us: u64, current: i64) -> i64 {
        let allowed = |policy: &Policy| {
            let start = self.at_start(policy, now_us, current);
            match policy.kind {
                PolicyKind::Pods => start - i64::from(policy.value),
                PolicyKind::Percent => (start as f64 * (1.0 - f64::from(policy.value) / 100.0)) as i64,
            }
        };
        let allowed = policies(rules, &DOWN_POLICIES).iter().map(allowed);
        let limit = match rules.select_policy {
            SelectPolicy::Disabled => None,
            // The smallest change leaves the most.
            SelectPolicy::Min => allowed.max(),
            SelectPolicy::Max => allowed.min(),
        };
        limit.unwrap_or(current).min(current)
    }

    /// How many replicas there were when the period of `policy` began.
    fn at_start(&self, policy: &Policy, now_us: u64, current: i64) -> i64 {
        let within = |events: &[At]| -> i64 {
            events.iter().filter(|event| event.is_within(policy.period_s, now_us)).map(|event| event.count).sum()
        };
        current - within(&self.ups) + within(&self.downs)
    }
}

fn policies<'a>(rules: &'a ScalingRules, default: &'a [Policy]) -> &'a [Policy] {
    if rules.policies.is_empty() { default } else { &rules.policies }
}

/// What the metrics ask for: the most that any of them does. `None` if none says anything, or if one that says nothing
/// might ask for more (`computeReplicasForMetrics`).
fn wanted(rules: &Autoscaler, current: u32, metrics_milli: &[Option<u64>]) -> Option<i64> {
    let tolerance =
        |rules: Option<&ScalingRules>| rules.and_then(|rules| rules.tolerance).map_or(TOLERANCE, Quantity::as_f64);
    let (up, down) = (rules.behavior.as_ref().map(|b| &b.scale_up), rules.behavior.as_ref().map(|b| &b.scale_down));
    let enough = 1.0 - tolerance(down)..=1.0 + tolerance(up);
    let proposal = |(metric, target): (u64, f64)| {
        let ratio = metric as f64 / (target * f64::from(current));
        let replicas = (metric as f64 / target).ceil().min(f64::from(i32::MAX));
        if enough.contains(&ratio) { i64::from(current) } else { replicas as i64 }
    };
    let targets = rules.triggers.iter().map(|trigger| trigger.value.milli() as f64);
    let told = metrics_milli.iter().zip(targets).filter_map(|(metric, target)| Some(((*metric)?, target)));
    let most = told.map(proposal).max()?;
    let one_is_missing = metrics_milli.iter().any(Option::is_none);
    (!one_is_missing || most >= i64::from(current)).then_some(most)
}

#[cfg(test)]
mod tests;
