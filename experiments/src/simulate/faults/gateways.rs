//! What gateways do wrong.

use super::{World, last, strength};
use crate::spec::{Fault, FaultKind, Pod};
use sim::fleet::Mischief;

/// Lets a gateway misbehave: how often it did.
pub(super) async fn misbehave(world: &World, fault: &Fault, index: u32) -> u64 {
    let mischief = match fault.kind {
        FaultKind::ReplyTwice => Mischief::ReplyTwice,
        FaultKind::ReplyLate => Mischief::ReplyLate { by_ms: strength(fault).unsigned_abs() },
        FaultKind::ReplyToNobody => Mischief::ReplyToNobody,
        FaultKind::ReplyForOther => Mischief::ReplyForOther,
        FaultKind::ReplyMalformed => Mischief::ReplyMalformed,
        FaultKind::ReplyOversized => Mischief::ReplyOversized,
        FaultKind::NoReports => Mischief::NoReports,
        _ => Mischief::LabelsFail,
    };
    let pod = world.pod_of_gateway(index);
    let mischiefs = world.mischiefs(index);
    let number = mischiefs.begin(mischief);
    world.note(pod, format_args!("breaks: {} does {mischief:?}", Pod::Gateway(index)));
    last(fault).await;
    world.note(pod, format_args!("mended: {} behaves again", Pod::Gateway(index)));
    mischiefs.end(number)
}
