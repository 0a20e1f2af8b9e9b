//! What a program is made of, or loaded by: one piece with its C library, a library in another program, the loader called by name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::{build, fixture, output, places, try_build_with, watched};

/// The program linked into one piece with its C library, or why it cannot be.
fn in_one_piece(system: &str) -> Result<PathBuf, String> {
    let target = format!("{}-unknown-linux-{system}", std::env::consts::ARCH);
    // With a target, since what runs while it is built must not be linked so.
    let built =
        try_build_with(&fixture("places"), "places", &["--target", &target], &[("RUSTFLAGS", "-C target-feature=+crt-static")]);
    built.inspect(|program| {
        let bytes = std::fs::read(program).expect("the program can be read");
        assert!(!bytes.windows(9).any(|name| name == b"/ld-linux" || name == b"/ld-musl-"), "it was linked otherwise");
    })
}

fn works_in_one_piece(system: &str) {
    match in_one_piece(system) {
        Ok(program) => {
            for place in ["plain", "crowd", "heap", "moved", "descriptors"] {
                for exec in [false, true] {
                    let printed = output(places::by(watched(&program), place, exec));
                    assert!(printed.ends_with("works\n"), "{place}, executed: {exec}: {printed}");
                }
            }
        }
        // The target is not installed, or its C library not there to be linked.
        Err(said) if said.contains("target may not be installed") || said.contains("linking with") => {
            eprintln!("not tested with {system}, since it cannot be built here:\n{said}");
        }
        Err(said) => panic!("it cannot be built:\n{said}"),
    }
}

#[test]
fn in_one_piece_with_glibc() {
    works_in_one_piece("gnu");
}

#[test]
fn in_one_piece_with_musl() {
    works_in_one_piece("musl");
}

static HOST: LazyLock<PathBuf> = LazyLock::new(|| build(&fixture("library"), "library", &["--lib"]));

fn library() -> PathBuf {
    HOST.with_file_name("liblibrary.so")
}

/// Shared memory works in a loaded library. Children do not, and the error says why.
#[track_caller]
fn is_refused(printed: &str) {
    let lines: Vec<_> = printed.lines().filter(|line| line.starts_with("library: ")).collect();
    let [value, child, pool] = lines[..] else { panic!("{printed}") };
    assert_eq!(value, "library: a value: 4");
    for (line, what) in [(child, "child"), (pool, "pool")] {
        assert!(line.starts_with(&format!("library: no {what}: ")) && line.contains("lies in a loaded library"), "{line}");
    }
}

#[test]
fn a_library_in_a_program_that_has_children_of_its_own() {
    let mut command = watched(&*HOST);
    command.arg(library());
    let printed = output(command);
    is_refused(&printed);
    assert!(printed.starts_with("program: a child: 42\n") && printed.ends_with("program: a child: 42\n"), "{printed}");
}

#[test]
fn a_library_in_a_program_in_c() {
    LazyLock::force(&HOST);
    let (source, program) = (fixture("library").join("host.c"), library().with_file_name("library-host-c"));
    let cc = Command::new("cc").arg("-o").args([&program, &source]).arg("-ldl").output();
    match cc {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => return eprintln!("not tested: there is no C compiler: {error}"),
    }
    let mut command = watched(&program);
    command.arg(library());
    is_refused(&output(command));
}

/// The loader of programs that are not in one piece, if this machine has it where most have.
fn loader() -> Option<&'static Path> {
    let paths = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    paths.into_iter().map(Path::new).find(|path| path.exists())
}

#[test]
fn started_by_the_loader() {
    let Some(loader) = loader() else { return eprintln!("not tested: the loader is not where it mostly is") };
    let mut command = watched(loader);
    command.arg(places::program()).arg("plain");
    let result = command.output().expect("the loader can be started");
    let said = String::from_utf8_lossy(&result.stderr);
    // A child could not know which program the loader shall load.
    assert_eq!(result.status.code(), Some(1));
    assert!(said.contains("/proc/self/exe is the loader") && said.lines().count() == 1, "{said}");
}
