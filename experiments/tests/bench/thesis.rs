//! The report on the thesis and the comparison, made from small stand-ins for the shipped experiments.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn experiments(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_experiments")).args(arguments).output().unwrap()
}

/// Experiments under the names of the thesis', with so few tasks that they take no time.
fn specs(root: &Path) -> String {
    let directory = root.join("specs");
    fs::create_dir_all(&directory).unwrap();
    let fleet = "fleet = { esls = 10, gateways = 1 }\nreplicas = { task_workers = 3, routers = 2 }\n";
    for (name, tasks) in [("custom_10k_2", 40), ("custom_1k_2", 10)] {
        fs::write(directory.join(format!("{name}.toml")), format!("workload = {{ tasks = {tasks} }}\n{fleet}"))
            .unwrap();
    }
    let reason = "extends = 'custom_10k_2'\nfleet.gateways = 2\n";
    fs::write(directory.join("reason_10k_2_gw10.toml"), reason).unwrap();
    fs::write(directory.join("smoke.toml"), "extends = 'custom_10k_2'\n").unwrap();
    directory.to_str().unwrap().to_owned()
}

#[test]
fn the_report_has_every_figure_and_claim_and_stays_the_same_to_the_byte() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (specs, results, plots) = (specs(root.path()), at("results"), at("plots"));
    let run = || {
        let output = experiments(&[
            "thesis",
            "--seeds",
            "2",
            "--specs",
            &specs,
            "--results",
            &results,
            "--plots",
            &plots,
            "--quiet",
        ]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run();
    // Two seeds for the thesis' own, one for the reason, none for what is no part of it; and the slow one with four
    // times nine other times.
    assert!(said.starts_with("41 runs in "), "{said}");

    let written = ["report.html", "report.md", "thesis.json", "runs.csv", "comparisons.csv"];
    let read = |name: &str| fs::read_to_string(Path::new(&results).join("thesis").join(name)).unwrap();
    let first = written.map(read);
    let [html, markdown, json, runs, comparisons] = &first;
    assert_eq!((runs.lines().count(), comparisons.lines().count()), (42, 1 + 42 + 34));
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["figures"].as_array().unwrap().len(), 42);
    let verdict = |of: &str| {
        let claims = json["claims"].as_array().unwrap().iter();
        claims.filter(|claim| claim["of"] == of).map(|claim| claim["verdict"].as_str().unwrap().to_owned()).next()
    };
    assert_eq!(verdict("custom_no_timeouts").as_deref(), Some("holds"));
    assert_eq!(verdict("baseline_works").as_deref(), Some("not_run"));
    assert_eq!(verdict("redis_o1").as_deref(), Some("not_tested"));
    for stem in
        ["overlay_custom_1k_2", "overlay_custom_10k_2", "reason", "reason_gateways", "reason_cumulative", "sensitivity"]
    {
        for extension in ["svg", "png"] {
            assert!(Path::new(&plots).join(format!("thesis/{stem}.{extension}")).is_file(), "{stem}.{extension}");
        }
    }
    // What is drawn is shown, and nothing is drawn that is not shown.
    let figures = fs::read_dir(Path::new(&plots).join("thesis")).unwrap();
    let figures: Vec<String> = figures.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let svgs: Vec<&String> = figures.iter().filter(|name| name.ends_with(".svg")).collect();
    assert!(svgs.len() >= 5);
    for name in &svgs {
        assert!(markdown.contains(&format!("](../../plots/thesis/{name})")), "{name} is not in the report");
    }
    assert_eq!((html.matches("<svg").count(), markdown.matches("![").count()), (svgs.len(), svgs.len()));
    assert_eq!(
        html.matches("<svg role=\"img\" aria-label=\"").count(),
        svgs.len(),
        "each figure is described in words"
    );
    assert!(!html.contains("<img") && !html.contains("href=\"http"));

    run();
    assert_eq!(written.map(read), first);
}

#[test]
fn a_directory_without_experiments_of_the_thesis_is_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("mine.toml"), "title = 'x'").unwrap();
    let output = experiments(&["thesis", "--specs", root.path().to_str().unwrap()]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("no spec here belongs to the report"), "{message}");
}

#[test]
fn an_experiment_is_compared_with_its_figure() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (specs, results, plots) = (specs(root.path()), at("results"), at("plots"));
    let compare = |name: &str, more: &[&str]| {
        let common = ["compare", name, "--specs", &specs, "--results", &results, "--plots", &plots, "--quiet"];
        let output = experiments(&[&common, more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&compare("custom_1k_2", &["--json", "--tasks", "20"])).unwrap();
    assert_eq!(
        (&json["sources"]["simulation"]["tasks"], &json["sources"]["thesis"]["tasks"]),
        (&20.into(), &2000.into())
    );
    assert!(json["distances"][0]["normalised_wasserstein"].as_f64().unwrap() > 0.0);
    assert!(Path::new(&plots).join("compare_custom_1k_2.png").is_file());
    assert!(compare("smoke", &[]).contains("nothing to compare with"));
}
