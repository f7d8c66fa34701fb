//! `layover completions` and `layover man`, as the programs that read them take them.

use std::fs;
use std::process::{Command, Stdio};

use crate::place::Place;

/// Runs a program that may not be here; nothing when it is not.
fn run(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let ran = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output();
    match ran {
        Ok(ran) => {
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            Some((ran.status.success(), said))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {program} is not here");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn each_shell_takes_its_script() {
    let place = Place::new();
    for (shell, options) in [
        ("bash", &["-n"][..]),
        ("zsh", &["-n"]),
        ("fish", &["--no-execute"]),
    ] {
        let script = place.run(&["completions", shell]).ok().stdout;
        for word in ["layover", "host-key", "next-certificate", "readiness"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let file = place.path().join(shell);
        fs::write(&file, &script).unwrap();
        let arguments = [options, &[file.to_str().unwrap()]].concat();
        if let Some((worked, said)) = run(shell, &arguments) {
            assert!(worked && said.is_empty(), "{shell}: {said}");
        }
    }
    place.run(&["completions", "cmd"]).refused(2, "zsh");
    assert!(!place.data_dir().exists());
}

#[test]
fn bash_completes_what_is_there() {
    let place = Place::new();
    let script = place.path().join("layover.bash");
    fs::write(&script, place.run(&["completions", "bash"]).ok().stdout).unwrap();
    let question = format!(
        "source {}; COMP_WORDS=(layover host-key re); COMP_CWORD=2; \
         _layover layover re host-key; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let ran = Command::new("bash").args(["-c", &question]).output();
    let answer = String::from_utf8(ran.expect("run bash").stdout).unwrap();
    let words: Vec<_> = answer.lines().collect();
    assert_eq!(words, ["retire", "readiness"], "{answer}");
}

#[test]
fn man_takes_every_page() {
    let place = Place::new();
    let written = place.json(&["man", "--out", "pages"]);
    let files = written["files"].as_array().unwrap();
    assert!(files.len() > 100, "{}", files.len());
    let pages: Vec<_> = fs::read_dir(place.path().join("pages")).unwrap().collect();
    assert_eq!(pages.len(), files.len());
    let text = fs::read_to_string(place.path().join("pages/layover-account-kit.1")).unwrap();
    assert!(text.contains("next\\-certificate"), "{text}");
    place
        .run(&["man", "--out", "pages"])
        .refused(1, "is not empty");
    assert!(!place.data_dir().exists());
    let title = ".TH \"LAYOVER-ACCOUNT-KIT\" 1 \"\" \"Layover ";
    assert!(text.contains(title), "{text}");
    let paths: Vec<_> = pages
        .iter()
        .map(|page| page.as_ref().unwrap().path().to_string_lossy().into_owned())
        .collect();
    let mut arguments = vec!["-man", "-Tutf8", "-ww", "-z"];
    arguments.extend(paths.iter().map(String::as_str));
    if let Some((worked, said)) = run("groff", &arguments) {
        assert!(worked && said.is_empty(), "{said}");
    }
}
