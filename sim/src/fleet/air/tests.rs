use super::*;

const STORE: StorePlan = StorePlan { gateways: 4, labels: 200, gateways_in_range: 4, side_m: 40.0 };
const PLAN: RadioPlan = RadioPlan {
    shadowing_db: 8.0,
    fading_db: 4.0,
    noise_figure_db: 7.0,
    command_bytes: 37,
    repeats_max: 3,
    repeat: Duration::from_millis(10),
    wake_period: Duration::ZERO,
    interference: Interference { noise_db: 20.0, from: Duration::from_secs(10), lasts: Duration::from_secs(5) },
    roaming_percent: 50,
    roaming_m_per_s: 1.0,
};

fn air(plan: RadioPlan) -> Air {
    Air::new(Seed::new(1), "store 0", plan, STORE, |i| Mac::new(i as u64))
}

fn rng() -> ChaCha8Rng {
    Seed::new(1).stream("packets")
}

/// All strengths at a time, in dBm, by gateway.
fn strengths(air: &Air, now_us: u64) -> Vec<Vec<Heard>> {
    let of = |gateway| {
        let antenna = air.antenna(gateway);
        [antenna.fixed().to_vec(), antenna.roaming(now_us)].concat()
    };
    (0..STORE.gateways).map(of).collect()
}

#[test]
fn a_label_that_stays_keeps_its_strength_and_one_that_roams_does_not() {
    let air = air(PLAN);
    let (roaming, fixed) = (air.0.roaming.len(), air.antenna(0).fixed().len());
    assert_eq!(roaming + fixed, STORE.labels);
    assert!((70..130).contains(&roaming), "{roaming}");
    let (before, after) = (strengths(&air, 0), strengths(&air, 60_000_000));
    assert_eq!(before[0][..fixed], after[0][..fixed]);
    let moved = before[0][fixed..].iter().zip(&after[0][fixed..]).filter(|(before, after)| before != after).count();
    assert!(moved * 10 > roaming * 9, "{moved} of {roaming}");
}

#[test]
fn shadows_lie_around_the_mean_of_the_distance() {
    let air = air(RadioPlan { roaming_m_per_s: 0.0, ..PLAN });
    let flat = self::air(RadioPlan { roaming_m_per_s: 0.0, shadowing_db: 0.0, ..PLAN });
    let shadows: Vec<f64> = strengths(&air, 0)
        .iter()
        .zip(strengths(&flat, 0))
        .flat_map(|(shadowed, plain)| {
            assert_eq!(shadowed.len(), plain.len());
            shadowed.iter().zip(plain).map(|(a, b)| f64::from(a.mean_dbm - b.mean_dbm)).collect::<Vec<_>>()
        })
        .collect();
    let mean = shadows.iter().sum::<f64>() / shadows.len() as f64;
    let variance = shadows.iter().map(|shadow| shadow * shadow).sum::<f64>() / shadows.len() as f64;
    assert!(mean.abs() < 1.0 && (55.0..75.0).contains(&variance), "{mean} {variance}");
}

#[test]
fn what_arrives_depends_on_the_strength_and_on_the_noise() {
    let air = air(RadioPlan { roaming_m_per_s: 0.0, fading_db: 0.0, ..PLAN });
    let antenna = air.antenna(0);
    let mut rng = rng();
    let mut shares = Vec::new();
    for now_us in [0, 12_000_000, 20_000_000] {
        let mut arrived = [0; 2];
        for heard in antenna.fixed() {
            let exchange = antenna.exchange(heard.label, now_us, &mut rng);
            assert!(exchange.delivered || !exchange.acknowledged);
            let is_strong = heard.mean_dbm > -90;
            arrived[usize::from(is_strong)] += u32::from(exchange.acknowledged);
            if heard.mean_dbm < -101 {
                assert!(!exchange.delivered, "{heard:?}");
            }
        }
        shares.push(arrived);
    }
    let strong = antenna.fixed().iter().filter(|heard| heard.mean_dbm > -90).count() as u32;
    assert_eq!((shares[0][1], shares[2][1]), (strong, strong), "4 dB above what is lost");
    assert!(shares[1][1] < strong, "20 dB more noise");
}

#[test]
fn time_on_the_air_is_counted_for_gateways_and_labels() {
    let air = air(RadioPlan { shadowing_db: 0.0, fading_db: 0.0, noise_figure_db: 0.0, ..PLAN });
    let antenna = air.antenna(1);
    let strongest = antenna.fixed().iter().max_by_key(|heard| heard.mean_dbm).unwrap().label;
    for _ in 0..3 {
        assert!(antenna.exchange(strongest, 0, &mut rng()).acknowledged);
    }
    assert!(!antenna.exchange(Mac::new(9_999), 0, &mut rng()).delivered, "a label of no store");
    let usage = air.usage();
    assert_eq!((usage.gateway_us, usage.gateway_us_max, usage.tries), (4 * 756, 4 * 756, 4));
    assert_eq!((usage.label_receive_us, usage.label_send_us, usage.label_us_max), (3 * 376, 3 * 80, 3 * 456));
}
