//! LE's uncoded radio at 1 Mb/s: how long a packet is on the air, and how often it arrives.
//!
//! A bit is wrong with the probability of binary frequency shift keying that is received without its phase,
//! ½·exp(-γ/2), where γ is the energy of a bit over the density of the noise (Proakis, Digital Communications,
//! "Noncoherent detection of binary orthogonal FSK"). With one bit a microsecond in a band of 1 MHz γ is the ratio of
//! signal and noise. Tones half a bit rate apart, LE's modulation index, are orthogonal. A packet is lost if any bit
//! behind its preamble is wrong: no code corrects any.
//!
//! Held to three published points: at a bit error rate of 0.1 % a packet of 37 bytes is lost in 30.8 % of all cases
//! (Bluetooth Core Specification, volume 6, part A, 4.1: what its sensitivity is measured by), and a receiver with a
//! noise figure of 7 dB gets there at -96 dBm, which Nordic's nRF54L15 datasheet gives for just that ("Receiver
//! operation", 1 Mbps, packets of up to 37 bytes, BER 1E-3).

/// Preamble, access address, header and check sum of a packet (Core, volume 6, part B, 2.1).
const PREAMBLE_BYTES: u32 = 1;
const AROUND_BYTES: u32 = 4 + 2 + 3;
/// Between a packet and its answer, in microseconds (part B, 4.1.1).
const TURNAROUND_US: u64 = 150;
/// Payload of a broadcast: address and the most data (part B, 2.3.1).
pub(super) const BROADCAST_BYTES: u32 = 6 + 31;
/// Payload of an acknowledgement.
pub(super) const ACK_BYTES: u32 = 0;
/// Thermal noise in 1 MHz at room temperature: -174 dBm in each hertz.
const THERMAL_NOISE_DBM: f64 = -114.0;
/// How wrong the clock of a sleeper is, and that of its gateway, in parts per million, and the jitter when awake, in
/// microseconds (part B, 4.2.2 and 4.2.1).
const SLEEP_CLOCK_PPM: u64 = 50;
const JITTER_US: u64 = 16;

/// The noise that a receiver with this noise figure hears, in dBm.
pub(super) fn noise_dbm(noise_figure_db: f64) -> f64 {
    THERMAL_NOISE_DBM + noise_figure_db
}

/// The share of bits that are wrong at this ratio of signal and noise.
fn bit_error_rate(snr_db: f64) -> f64 {
    0.5 * libm::exp(-libm::pow(10.0, snr_db / 10.0) / 2.0)
}

/// The share of packets with this payload that are lost.
pub(super) fn packet_error_rate(snr_db: f64, payload_bytes: u32) -> f64 {
    let bits = f64::from(8 * (AROUND_BYTES + payload_bytes));
    -libm::expm1(bits * libm::log1p(-bit_error_rate(snr_db)))
}

/// How long a packet with this payload is on the air, in microseconds.
pub(super) fn packet_us(payload_bytes: u32) -> u64 {
    u64::from(8 * (PREAMBLE_BYTES + AROUND_BYTES + payload_bytes))
}

/// How long a radio is busy with a packet and its acknowledgement, or with waiting for that, in microseconds.
pub(super) fn exchange_us(payload_bytes: u32) -> u64 {
    packet_us(payload_bytes) + TURNAROUND_US + packet_us(ACK_BYTES) + TURNAROUND_US
}

/// How long a label that sleeps for this long listens when it wakes, in microseconds: the head of a packet, and as much
/// before and after it as both clocks may be wrong by (part B, 4.2.4: window widening).
pub(super) fn listening_us(sleep_us: u64) -> u64 {
    let widening_us = 2 * SLEEP_CLOCK_PPM * sleep_us / 1_000_000 + JITTER_US;
    2 * widening_us + u64::from(8 * (PREAMBLE_BYTES + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the bit error rate is this, in dB.
    fn snr_db(bit_errors: f64) -> f64 {
        10.0 * libm::log10(-2.0 * libm::log(2.0 * bit_errors))
    }

    #[test]
    fn a_packet_of_37_bytes_is_lost_as_often_as_the_specification_says() {
        let lost = packet_error_rate(snr_db(0.001), 37);
        assert!((lost - 0.308).abs() < 0.0005, "{lost}");
    }

    #[test]
    fn a_receiver_is_as_sensitive_as_one_that_is_sold() {
        let sensitivity_dbm = noise_dbm(7.0) + snr_db(0.001);
        assert!((sensitivity_dbm + 96.0).abs() < 0.1, "{sensitivity_dbm}");
    }

    #[test]
    fn fewer_packets_are_lost_the_stronger_the_signal_and_the_shorter_they_are() {
        let lost: Vec<f64> = (-10..25).map(|snr_db| packet_error_rate(f64::from(snr_db), 37)).collect();
        assert!(lost.windows(2).all(|pair| pair[0] >= pair[1]), "{lost:?}");
        assert!(lost[0] > 0.999_999 && lost[34] < 1e-9 && lost.iter().all(|lost| (0.0..=1.0).contains(lost)));
        assert!(packet_error_rate(10.0, ACK_BYTES) < packet_error_rate(10.0, 37));
        assert!(packet_error_rate(10.0, 37) < packet_error_rate(10.0, 251));
    }

    #[test]
    fn packets_take_the_time_of_the_specification() {
        // An empty packet takes 80 us, a full one 2,088 us less the 32 us of an integrity check.
        assert_eq!((packet_us(0), packet_us(251)), (80, 2_088));
        assert_eq!(exchange_us(37), 376 + 150 + 80 + 150);
        assert_eq!(listening_us(2_000_000), 2 * 216 + 40);
    }
}
