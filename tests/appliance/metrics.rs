//! What the console's address tells: metrics and health, and what it bears.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::ftps::Entry;
use layover_tests::http::{self, Samples, parse_metrics};
use layover_tests::wait::{self, PATIENCE, Timer};
use layover_tests::{Engine, Layover, Protocol, Setup, over_both_protocols};

/// As SECURITY.md says.
const MAX_CONNECTIONS: usize = 16;
const MAX_HEAD_BYTES: usize = 4_096;
const MAX_HEADERS: usize = 32;
const HEAD_LIMIT: Duration = Duration::from_secs(2);

over_both_protocols!(what_partners_do_is_counted);

fn metrics(layover: &Layover) -> Samples {
    let answer = http::get(layover.console_address(), "/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    parse_metrics(&answer.body)
}

#[track_caller]
fn value(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels: BTreeMap<_, _> = labels
        .iter()
        .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
        .collect();
    let found = samples.get(&(name.to_owned(), labels));
    *found.unwrap_or_else(|| panic!("no {name} in {samples:#?}"))
}

fn what_partners_do_is_counted(protocol: Protocol, engine: Engine) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let by = ("protocol", protocol.name());
    let before = metrics(&layover);
    let none = [by, ("direction", "upload"), ("outcome", "ok")];
    assert_eq!(value(&before, "layover_transfers_total", &none), 0.0);

    let mut partner = account.partner(&layover, protocol);
    partner.put(b"/file", &[b'x'; 2_000]).expect("put");
    partner.get(b"/file").expect("get");
    // Answered before its end is counted, a download is told a moment later.
    let now = wait::until("the download to be counted", PATIENCE, || {
        let now = metrics(&layover);
        let download = [by, ("direction", "download"), ("outcome", "ok")];
        (value(&now, "layover_transfers_total", &download) == 1.0).then_some(now)
    });
    let ok = ("outcome", "ok");
    assert_eq!(value(&now, "layover_logins_total", &[by, ok]), 1.0);
    let method = match protocol {
        Protocol::Sftp => "publickey",
        Protocol::Ftps => "password",
    };
    let method = ("method", method);
    let attempts = "layover_login_attempts_total";
    assert_eq!(value(&now, attempts, &[by, method, ok]), 1.0);
    assert_eq!(value(&now, "layover_sessions", &[by]), 1.0);
    let other = ("protocol", protocol.other().name());
    assert_eq!(value(&now, "layover_sessions", &[other]), 0.0);
    for direction in ["upload", "download"] {
        let direction = ("direction", direction);
        let count = |name, labels: &[_]| value(&now, name, labels);
        assert_eq!(count("layover_transfers_total", &[by, direction, ok]), 1.0);
        let elsewhere = [other, direction, ok];
        assert_eq!(count("layover_transfers_total", &elsewhere), 0.0);
        assert_eq!(
            count("layover_transfer_bytes_total", &[by, direction]),
            2_000.0
        );
        let size = |bound| {
            count(
                "layover_transfer_size_bytes_bucket",
                &[by, direction, ("le", bound)],
            )
        };
        assert_eq!([size("1024"), size("16384"), size("+Inf")], [0.0, 1.0, 1.0]);
        let durations = "layover_transfer_duration_seconds_count";
        assert_eq!(count(durations, &[by, direction]), 1.0);
        let whose = [("account", "partner"), direction];
        assert_eq!(
            count("layover_account_transfer_bytes_total", &whose),
            2_000.0
        );
    }
    drop(partner);
    wait::until("the session to be gone", PATIENCE, || {
        (value(&metrics(&layover), "layover_sessions", &[by]) == 0.0).then_some(())
    });
}

#[test]
fn what_the_database_knows_is_told_on_every_engine() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        if !engine.available() {
            continue;
        }
        let layover = Setup::new(engine).prepare();
        let account = layover.account("partner").add();
        layover.start();
        account
            .sftp(&layover)
            .put(b"/file", b"content")
            .expect("put");
        let told = wait::until("the file to be told of", PATIENCE, || {
            let told = metrics(&layover);
            let is_looked_at = told.keys().any(|(name, _)| name == "layover_expiring");
            (value(&told, "layover_stored_bytes", &[]) == 7.0 && is_looked_at).then_some(told)
        });
        let of = |name| value(&told, name, &[]);
        for up in ["layover_database_up", "layover_storage_writable"] {
            assert_eq!(of(up), 1.0, "{up}");
        }
        for none in [
            "layover_retention_oldest_overdue_seconds",
            "layover_retention_due_files",
            "layover_retention_failing_files",
            "layover_held_files",
            "layover_partial_uploads",
            "layover_clock_in_doubt",
            "layover_clock_differs_from_database",
        ] {
            assert_eq!(of(none), 0.0, "{none}");
        }
        for queue in [
            "flow_runs_due",
            "flow_runs_running",
            "deliveries_due",
            "deliveries_dead",
        ] {
            let depth = value(&told, "layover_queue_depth", &[("queue", queue)]);
            assert_eq!(depth, 0.0, "{queue}");
        }
        assert!(of("layover_retention_sweep_runs_total") >= 1.0);
        assert!(of("layover_certificate_expiry_seconds") > 86_400.0);
        for (kind, days) in [("certificate", "0"), ("certificate", "30"), ("key", "30")] {
            let labels = [("kind", kind), ("within_days", days)];
            assert_eq!(value(&told, "layover_expiring", &labels), 0.0, "{kind}");
        }
        let ready = http::get(layover.console_address(), "/health/ready");
        assert_eq!(
            (ready.status, &ready.headers["content-type"][..]),
            (200, "application/json")
        );
        let ready: serde_json::Value = serde_json::from_str(&ready.body).expect("JSON");
        assert_eq!(ready["ready"], true, "{ready}");
        let names = ready["checks"].as_array().expect("checks").iter();
        let names: Vec<_> = names.filter_map(|check| check["check"].as_str()).collect();
        assert_eq!(
            names,
            [
                "server",
                "database",
                "storage",
                "clock",
                "sweep",
                "evidence",
                "certificate"
            ]
        );
    }
}

#[test]
fn an_overdue_file_that_cannot_go_and_absent_homes_are_told() {
    let setup = Setup::new(Engine::Sqlite).set("retention", "keep", "\"1s\"");
    let layover = setup.prepare();
    let account = layover.account("partner").add();
    layover.start();
    let console = layover.console_address();
    assert_eq!(http::get(console, "/health/ready").status, 200);
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
    // The tree goes away: nothing can be deleted, and nothing stored.
    let away = layover.scratch().join("away");
    fs::rename(layover.homes(), &away).expect("take the homes away");
    wait::until("the server to be not ready", PATIENCE, || {
        let answer = http::get(console, "/health/ready");
        let found: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let storage = found["checks"]
            .as_array()?
            .iter()
            .find(|check| check["check"] == "storage")?;
        (answer.status == 503 && found["ready"] == false && storage["ok"] == false).then_some(())
    });
    wait::until("the overdue file to be told", PATIENCE, || {
        let told = metrics(&layover);
        let overdue = value(&told, "layover_retention_oldest_overdue_seconds", &[]);
        let writable = value(&told, "layover_storage_writable", &[]);
        (overdue > 0.0 && writable == 0.0).then_some(())
    });
    assert_eq!(http::get(console, "/health/live").status, 200);
    fs::rename(&away, layover.homes()).expect("bring the homes back");
    wait::until("the server to be ready again", PATIENCE, || {
        (http::get(console, "/health/ready").status == 200).then_some(())
    });
}

fn serve() -> Layover {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.start();
    layover
}

fn status(to: SocketAddr, request: &str) -> u16 {
    http::exchange(to, request).expect("an answer").status
}

#[test]
fn only_get_and_head_of_three_paths_are_answered() {
    let layover = serve();
    let console = layover.console_address();
    for (request, expected) in [
        ("GET /health/live", 200),
        ("GET /health/ready?x=1", 200),
        ("HEAD /metrics", 200),
        ("GET /", 404),
        ("GET /metrics/", 404),
        ("GET /../etc/passwd", 404),
        ("POST /metrics", 405),
        ("DELETE /health/live", 405),
        ("OPTIONS /metrics", 405),
    ] {
        let request = format!("{request} HTTP/1.1\r\nHost: c\r\n\r\n");
        assert_eq!(status(console, &request), expected, "{request}");
    }
    assert_eq!(status(console, "no HTTP\r\n\r\n"), 400);
    let request = "HEAD /health/live HTTP/1.1\r\nHost: c\r\n\r\n";
    let head = http::exchange(console, request).expect("an answer");
    assert_eq!(
        (head.body.as_str(), &head.headers["content-length"][..]),
        ("", "13")
    );
    let refused = "PUT /metrics HTTP/1.1\r\nHost: c\r\nContent-Length: 5\r\n\r\nhello";
    let refused = http::exchange(console, refused).expect("an answer");
    assert_eq!(
        (refused.status, &refused.headers["allow"][..]),
        (405, "GET, HEAD")
    );
}

#[test]
fn a_requests_head_is_limited_in_bytes_and_headers() {
    let layover = serve();
    let console = layover.console_address();
    let of_length = |bytes: usize| {
        let frame = "GET /health/live?".len() + " HTTP/1.1\r\nHost: c\r\n\r\n".len();
        let filling = "x".repeat(bytes - frame);
        format!("GET /health/live?{filling} HTTP/1.1\r\nHost: c\r\n\r\n")
    };
    assert_eq!(status(console, &of_length(MAX_HEAD_BYTES)), 200);
    assert_eq!(status(console, &of_length(MAX_HEAD_BYTES + 1)), 431);
    let with_headers = |count: usize| {
        let headers: String = (0..count)
            .map(|number| format!("X-{number}: y\r\n"))
            .collect();
        format!("GET /health/live HTTP/1.1\r\n{headers}\r\n")
    };
    assert_eq!(status(console, &with_headers(MAX_HEADERS)), 200);
    assert_eq!(status(console, &with_headers(MAX_HEADERS + 1)), 431);
}

/// Whoever reaches the port can open connections and be silent: nobody's probe waits for them.
#[test]
fn probes_are_answered_while_others_are_silent() {
    let layover = serve();
    let console = layover.console_address();
    let mut silent = Vec::new();
    for round in 0..4 {
        silent.extend((0..MAX_CONNECTIONS).map(|_| http::connect(console)));
        let (path, asked) = ("/health/live", Timer::start());
        assert_eq!(http::get(console, path).status, 200, "round {round}");
        let under = silent.len();
        assert!(asked.elapsed() < HEAD_LIMIT * 5, "slow under {under}");
        // And so is who has begun to ask only.
        let mut begun = http::connect(console);
        begun
            .write_all(b"GET /health/live HTTP/1.1\r\nHost")
            .expect("begin to ask");
        silent.push(begun);
    }
    // Those that gave way have ended, and the others end in time.
    for stream in silent {
        // hyper may say 408 to who had begun to ask.
        let end = http::read_answer(stream);
        assert!(end.is_none_or(|end| end.status == 408));
    }
}

#[test]
fn a_taken_console_port_is_told_with_its_setting() {
    let first = serve();
    let address = format!("\"{}\"", first.console_address());
    let second = Setup::new(Engine::Sqlite)
        .set("console", "listen", &address)
        .prepare();
    let refused = second.run(&["serve"]);
    assert!(!refused.ok(), "{refused}");
    assert!(
        refused.stderr.contains("LAYOVER__CONSOLE__LISTEN"),
        "{refused}"
    );
    assert!(
        refused
            .stderr
            .contains(&first.console_address().to_string()),
        "{refused}"
    );
    let check = second.run(&["check"]);
    assert!(check.stdout.contains("console port"), "{check}");
    assert!(check.stdout.contains("LAYOVER__CONSOLE__LISTEN"), "{check}");
}

/// Ports that a process listens on.
fn listens_on(pid: u32) -> BTreeSet<u16> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let sockets: BTreeSet<_> = descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok())
        .filter_map(|target| {
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("its sockets");
    let listening = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_its = fields.get(3) == Some(&"0A") && sockets.contains(*fields.get(9)?);
        let port = fields.get(1)?.rsplit_once(':')?.1;
        is_its.then(|| u16::from_str_radix(port, 16).ok()).flatten()
    });
    listening.collect()
}

#[test]
fn a_console_that_is_switched_off_listens_nowhere_and_everything_else_is_well() {
    let layover = Setup::new(Engine::Sqlite)
        .set("console", "enabled", "false")
        .prepare();
    let account = layover.account("partner").add();
    layover.start();
    let of_partners = [
        layover.sftp_address(),
        layover.ftps_address(Entry::Explicit),
        layover.ftps_address(Entry::Implicit),
    ];
    let expected: BTreeSet<_> = of_partners.iter().map(SocketAddr::port).collect();
    assert_eq!(listens_on(layover.pid()), expected);
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");

    let healthy = layover.run(&["status", "--health"]).expect_ok();
    assert!(healthy.stdout.contains("healthy"), "{healthy}");
    let status = layover.json(&["status"]);
    assert_eq!(status["running"], true);
    assert!(status["server"]["console"].is_null(), "{status}");
    let shown = layover.admin(&["status"]).stdout;
    let line = shown.lines().find(|line| line.contains("console"));
    assert!(
        line.is_some_and(|line| line.contains("switched off")),
        "{shown}"
    );
    let checked = layover.rows(&["check"]);
    let console = checked.iter().find(|line| line["what"] == "console port");
    let console = console.expect("a line of it");
    assert_eq!(console["state"], "ready");
    assert_eq!(console["detail"], "switched off by [console] enabled");
    layover.stop();

    // With it there is one more.
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.start();
    let ports = listens_on(layover.pid());
    assert!(
        ports.contains(&layover.console_address().port()),
        "{ports:?}"
    );
    assert_eq!(ports.len(), 4, "{ports:?}");
}
