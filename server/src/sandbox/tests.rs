use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

fn writable(folders: &[&Path]) -> Writable {
    Writable {
        folders: folders.iter().map(|folder| folder.to_path_buf()).collect(),
        absent: Vec::new(),
        temporary: None,
    }
}

/// Whether this machine can show what is claimed here.
fn kernel_can() -> bool {
    let can = made(&writable(&[]), CompatLevel::HardRequirement).is_ok();
    if !can {
        eprintln!("skipped: the kernel has no Landlock of Linux 6.12 or later");
    }
    can
}

/// What is done in a thread of its own, which alone is kept in.
fn kept_in<T: Send + 'static>(folders: &[&Path], act: impl FnOnce() -> T + Send + 'static) -> T {
    let rules = ruleset(&writable(folders)).unwrap();
    let thread = std::thread::spawn(move || {
        let status = rules.restrict_self().unwrap();
        assert_eq!(status.ruleset, RulesetStatus::FullyEnforced);
        // Threads that it starts are kept in, too.
        std::thread::spawn(act).join().unwrap()
    });
    thread.join().unwrap()
}

#[test]
fn nothing_is_written_outside_and_everything_within() {
    if !kernel_can() {
        return;
    }
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(other.path().join("file"), b"as it was").unwrap();
    let (inside, outside) = (own.path().to_owned(), other.path().to_owned());
    kept_in(&[own.path()], move || {
        // As a partner's file is published, and its folder renamed and removed.
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::write(inside.join("a/b/file"), b"x").unwrap();
        fs::rename(inside.join("a/b/file"), inside.join("file")).unwrap();
        fs::hard_link(inside.join("file"), inside.join("a/link")).unwrap();
        fs::remove_file(inside.join("file")).unwrap();
        fs::rename(inside.join("a"), inside.join("c")).unwrap();
        fs::remove_dir_all(inside.join("c")).unwrap();

        let file = outside.join("file");
        let refused = |done: io::Result<()>| done.unwrap_err().kind();
        for done in [
            fs::write(&file, b"otherwise"),
            fs::File::options().append(true).open(&file).map(drop),
            fs::File::options().write(true).open("/dev/null").map(drop),
            fs::remove_file(&file),
            fs::rename(&file, outside.join("renamed")),
            fs::create_dir(outside.join("folder")),
            symlink("x", outside.join("link")),
        ] {
            assert_eq!(refused(done), ErrorKind::PermissionDenied);
        }
        // Out of the folder, also through a link within.
        fs::write(inside.join("mine"), b"x").unwrap();
        let moved = fs::rename(inside.join("mine"), outside.join("mine"));
        assert!(matches!(
            refused(moved),
            ErrorKind::PermissionDenied | ErrorKind::CrossesDevices
        ));
        symlink(&file, inside.join("out")).unwrap();
        let through = fs::write(inside.join("out"), b"otherwise");
        assert_eq!(refused(through), ErrorKind::PermissionDenied);
        // Reading is free.
        assert_eq!(fs::read(&file).unwrap(), b"as it was");
        assert!(fs::read_dir(&outside).unwrap().next().is_some());
    });
    assert_eq!(fs::read(other.path().join("file")).unwrap(), b"as it was");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    // Who is not kept in is not.
    fs::write(other.path().join("file"), b"otherwise").unwrap();
}

#[test]
fn no_program_is_started_and_nobody_else_is_signalled() {
    if !kernel_can() {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    // What it writes itself it cannot start, either.
    let program = own.path().join("program");
    fs::copy("/bin/true", &program).unwrap();
    assert!(Command::new(&program).status().unwrap().success());
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&other);
    let (programs, signalled) = kept_in(&[own.path()], move || {
        let programs = [Path::new("/bin/true"), &program].map(|program| {
            let started = Command::new(program).status();
            started.map(drop).map_err(|error| error.kind())
        });
        (programs, rustix::process::test_kill_process(pid))
    });
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(programs, [Err(ErrorKind::PermissionDenied); 2]);
    assert_eq!(signalled, Err(rustix::io::Errno::PERM));
}

#[test]
fn the_folders_are_those_of_the_settings() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().canonicalize().unwrap().join(name);
    for folder in ["data/homes", "data/keys", "homes", "db", "tmp"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    let (data, temporary) = (at("data"), Some(at("tmp")));
    let within = |homes: &str, database: &str| {
        let database = at(database);
        Writable::with(&data, &at(homes), Some(&database), temporary.clone()).unwrap()
    };
    assert_eq!(
        within("data/homes", "data/layover.db").folders,
        [at("data"), at("tmp")]
    );
    assert_eq!(
        within("homes", "db/layover.db").folders,
        [at("data"), at("homes"), at("db"), at("tmp")]
    );
    let told = within("data/homes", "data/layover.db").in_words();
    let (data_dir, sorting) = (at("data"), at("tmp"));
    let folders = format!(
        "below {}, {} (where SQLite puts what it sorts) only",
        data_dir.display(),
        sorting.display()
    );
    assert!(told.contains(&folders), "{told}");
    let remote = Writable::with(&data, &at("homes"), None, None).unwrap();
    assert_eq!(remote.folders, [at("data"), at("homes")]);
    assert!(remote.absent.is_empty());

    // A link is where it leads.
    fs::write(at("db/real.db"), b"").unwrap();
    symlink(at("db/real.db"), at("data/layover.db")).unwrap();
    fs::remove_dir(at("data/keys")).unwrap();
    fs::create_dir(at("elsewhere")).unwrap();
    symlink(at("elsewhere"), at("data/keys")).unwrap();
    assert_eq!(
        within("data/homes", "data/layover.db").folders,
        [at("data"), at("db"), at("tmp"), at("elsewhere")]
    );

    // What is not there yet is made below what is.
    let first = Writable::with(&at("new/data"), &at("new/data/homes"), None, None).unwrap();
    assert_eq!(first.folders, [at("")]);
    assert_eq!(first.absent, [at("new/data"), at("new/data/homes")]);
    assert!(first.in_words().contains("not there yet"));
}

#[test]
fn what_is_asked_for_and_what_the_kernel_can_say_how_it_stands() {
    let told = |wanted, status| {
        let found = report_of(wanted, || match status {
            Some(status) => Ok((writable(&[Path::new("/srv")]), status)),
            None => Err(SandboxError::Partly),
        });
        found.map(|report| report.state)
    };
    use RulesetStatus::{FullyEnforced, NotEnforced, PartiallyEnforced};
    for (status, state) in [
        (Some(FullyEnforced), SandboxState::Enforced),
        (Some(PartiallyEnforced), SandboxState::Partly),
        (Some(NotEnforced), SandboxState::Unavailable),
        (None, SandboxState::Unavailable),
    ] {
        assert_eq!(told(Sandbox::Auto, status).unwrap(), state);
    }
    let off = told(Sandbox::Off, Some(FullyEnforced)).unwrap();
    assert_eq!(off, SandboxState::SwitchedOff);
    assert!(told(Sandbox::Require, Some(FullyEnforced)).is_ok());
    for short in [Some(PartiallyEnforced), Some(NotEnforced), None] {
        let refused = told(Sandbox::Require, short);
        assert!(matches!(refused, Err(SandboxError::Partly)));
    }
    let absent = report_of(Sandbox::Require, || {
        let mut found = writable(&[Path::new("/srv")]);
        let folders = ["/srv/data", "/srv/it's here"].map(PathBuf::from);
        found.absent.extend(folders);
        Ok((found, FullyEnforced))
    });
    let told = absent.unwrap_err().to_string();
    assert!(
        told.contains("there is no /srv/data, no /srv/it's here;"),
        "{told}"
    );
    assert!(
        told.ends_with(r"mkdir -p -m 700 /srv/data '/srv/it'\''s here'"),
        "{told}"
    );
}
