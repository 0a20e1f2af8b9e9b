//! Whole programs outside this workspace: those of `fixtures`, built as their own crates and run.

#![allow(unsafe_code)]

mod hosts;
mod places;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use std::os::unix::process::CommandExt;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A program that takes longer is ended, in seconds.
const WATCHDOG: u32 = 60;

/// Where the fixtures are built: copies, so that a build leaves nothing in the sources.
fn workshop() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs")
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Writes a file, if it is not so already: cargo builds anew what looks newer. Returns whether it was not.
fn write(path: &Path, content: &str) -> bool {
    if fs::read_to_string(path).is_ok_and(|there| there == content) {
        return false;
    }
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder can be made");
    fs::write(path, content).expect("the file can be written");
    true
}

/// Copies all text files below a folder, with a change.
fn copy(from: &Path, to: &Path, change: &dyn Fn(String) -> String) {
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.expect("the folder can be read").path();
        let to = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &to, change);
        } else {
            write(&to, &change(text(&path)));
        }
    }
}

/// Removes from a copy what is not in the folder any more.
fn sweep(from: &Path, to: &Path) {
    for entry in fs::read_dir(to).into_iter().flatten() {
        let path = entry.expect("the folder can be read").path();
        let from = from.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() && from.is_dir() {
            sweep(&from, &path);
        } else if path.is_dir() {
            fs::remove_dir_all(&path).expect("a copy can be removed");
        } else if !from.is_file() {
            fs::remove_file(&path).expect("a copy can be removed");
        }
    }
}

/// A copy of a fixture, with the versions of dependencies that this workspace has.
fn fixture(name: &str) -> PathBuf {
    let to = workshop().join(name);
    let crates = format!("\"{ROOT}/crates/");
    copy(&Path::new(ROOT).join("tests/fixtures").join(name), &to, &|text| text.replace("\"../../../crates/", &crates));
    let lock = text(Path::new(ROOT).join("Cargo.lock"));
    if write(&to.join("Cargo.lock.base"), &lock) || !to.join("Cargo.lock").exists() {
        write(&to.join("Cargo.lock"), &lock);
    }
    to
}

/// Builds a program of a fixture; the path of its executable, or what cargo said.
fn try_build(fixture: &Path, bin: &str, options: &[&str]) -> Result<PathBuf, String> {
    try_build_with(fixture, bin, options, &[])
}

/// The same, in an environment of which this is a part.
fn try_build_with(fixture: &Path, bin: &str, options: &[&str], env: &[(&str, &str)]) -> Result<PathBuf, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--message-format=json-render-diagnostics", "--bin", bin]).args(options);
    // Less to write, and nobody debugs these.
    cargo.envs(env.iter().copied()).env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    let output = cargo.arg("--target-dir").arg(workshop().join("target")).current_dir(fixture).output();
    let output = output.expect("cargo can be started");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let (_, path) = messages.rsplit_once("\"executable\":\"").expect("cargo says where the executable is");
    Ok(path[..path.find('"').expect("a path ends")].into())
}

fn build(fixture: &Path, bin: &str, options: &[&str]) -> PathBuf {
    try_build(fixture, bin, options).unwrap_or_else(|said| panic!("{bin} {options:?} cannot be built:\n{said}"))
}

/// A command that a watchdog ends.
fn watched(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    let watchdog = || {
        // SAFETY: `alarm` may be called at any moment. It outlives the exec.
        unsafe { libc::alarm(WATCHDOG) };
        Ok(())
    };
    // SAFETY: between fork and exec, it only makes a system call.
    unsafe { command.pre_exec(watchdog) };
    command
}

/// What a program printed. It must have gone well.
#[track_caller]
fn output(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the program can be started");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

#[track_caller]
fn prints(program: &Path, expected: &str) {
    assert_eq!(output(watched(program)), expected);
}

const ABORT: &str = "\
child: three is refused
thread: a thread gave up
task 3: three is refused
pool: [8, 10, 12, 14]
child: 42
";

#[test]
fn panics_arrive_where_they_abort() {
    prints(&build(&fixture("abort"), "abort", &[]), ABORT);
}

#[test]
fn panics_arrive_where_they_abort_in_a_program_made_small() {
    prints(&build(&fixture("abort"), "abort", &["--release"]), ABORT);
}

#[test]
fn two_versions_in_one_program() {
    let second = workshop().join("second");
    let root = Path::new(ROOT);
    let other_version = |text: String| text.replace("\"0.1.0\"", "\"0.2.0\"");
    // Said explicitly, or cargo takes the workspace further up, whose root it already knows.
    let own_workspace = |text: String| other_version(text.replace("[package]\n", "[package]\nworkspace = \"../..\"\n"));
    for part in ["crates/coproc", "crates/coproc-derive", "crates/coproc-pool"] {
        sweep(&root.join(part), &second.join(part));
        copy(&root.join(part), &second.join(part), &own_workspace);
    }
    copy(&root.join("tests/kit"), &second.join("tests/kit"), &other_version);
    let manifest = text(root.join("Cargo.toml"));
    let changed = other_version(manifest.clone());
    assert_ne!(changed, manifest, "the version is another: change the number above");
    write(&second.join("Cargo.toml"), &changed);
    let program = build(&fixture("two_copies"), "two_copies", &[]);
    prints(&program, "10 100\n144\n27\n[1, 2, 3] [2, 3, 4]\n");
}

/// What a program with a constructor beside ours prints: the last line is where it ran.
fn constructors(bin: &str, options: &[&str]) -> String {
    let program = build(&fixture("constructors"), bin, options);
    let printed = output(watched(program));
    let order = printed.strip_prefix("parent (1, 1)\nchild (1, 1)\nworker [(1, 1)]\n");
    order.unwrap_or_else(|| panic!("{bin}: {printed}")).trim_end().to_owned()
}

#[test]
fn constructors_of_others_have_run_in_a_child() {
    let mut orders = [constructors("ours_first", &[]), constructors("other_first", &[])];
    orders.sort();
    assert_eq!(orders, ["after the hook", "before the hook"], "the linker gave both programs one order, so one was not tested");
}

#[test]
fn constructors_of_others_have_run_in_a_child_of_a_program_in_one_piece() {
    constructors("ours_first", &["--release"]);
    constructors("other_first", &["--release"]);
}

static STRANGE: LazyLock<PathBuf> = LazyLock::new(|| build(&fixture("strange"), "strange", &[]));

/// The program of strange circumstances, under this one.
fn strange(circumstance: &str) -> Command {
    let mut command = watched(&*STRANGE);
    command.arg(circumstance);
    command
}

/// The same, started by a shell that does this before.
fn strange_after(script: &str, circumstance: &str) -> Command {
    let mut command = watched("sh");
    command.arg("-c").arg(format!("{script}; exec \"$0\" \"$@\"")).arg(&*STRANGE).arg(circumstance);
    command
}

#[test]
fn standard_descriptors_are_closed() {
    assert_eq!(output(strange("closed")), "works\n");
}

#[test]
fn standard_descriptors_are_closed_and_few_are_allowed() {
    assert_eq!(output(strange_after("ulimit -n 64", "closed")), "works\n");
}

#[test]
fn started_without_standard_descriptors() {
    let mut command = strange_after("exec <&- >&- 2>&-", "elsewhere");
    assert!(command.status().expect("the program can be started").success());
}

#[test]
fn executable_is_deleted() {
    let copy = workshop().join(format!("deleted-{}", std::process::id()));
    fs::copy(&*STRANGE, &copy).expect("the program can be copied");
    let mut command = watched(&copy);
    command.arg("deleted");
    assert_eq!(output(command), "a child says 1\nworks, deleted: true\n");
    assert!(!copy.exists());
}

#[test]
fn working_directory_is_another() {
    // Found by a path that means nothing there.
    let mut command = watched("./strange");
    command.arg("elsewhere").current_dir(STRANGE.parent().expect("a program lies in a folder"));
    assert_eq!(output(command), "a child says 1\nworks in /proc\n");
}

#[test]
fn environment_is_empty() {
    let mut command = strange("environment");
    command.env_clear();
    assert_eq!(output(command), "a child says 1\n[\"environment\"] []\n");
}

#[test]
fn environment_and_arguments_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut command = strange("environment");
    command.env_clear().env(OsStr::from_bytes(b"N\xff"), OsStr::from_bytes(b"\xfe=")).arg(OsStr::from_bytes(b"\xc3("));
    assert_eq!(
        output(command),
        r#"a child says 1
["environment", "\\xc3("] ["N\\xff=\\xfe="]
"#
    );
}

#[test]
fn three_hundred_threads() {
    assert!(output(strange("threads")).ends_with("works\n"));
}

const MARKED: &str = "main runs, marked: true\na child says 1\nworks, child marked: false\n";

#[test]
fn marked_as_a_child_without_descriptors() {
    let mut command = strange_after("exec 3>&- 4>&-", "descriptor");
    command.env("COPROC_CHILD", "1");
    assert_eq!(output(command), MARKED);
}

#[test]
fn marked_as_a_child_with_a_file_of_somebody() {
    let mut command = strange_after("exec 3<Cargo.toml", "descriptor");
    command.env("COPROC_CHILD", "1").current_dir(workshop().join("strange"));
    let manifest = text(workshop().join("strange/Cargo.toml"));
    assert_eq!(output(command), format!("{MARKED}3 gives {manifest:?}, flags 0\n"));
}

#[test]
fn marked_as_a_child_with_a_pipe_of_somebody() {
    let mut command = watched("sh");
    let script = "printf abc | { exec 3<&0 </dev/null; exec \"$0\" descriptor; }";
    command.arg("-c").arg(script).arg(&*STRANGE).env("COPROC_CHILD", "1");
    assert_eq!(output(command), format!("{MARKED}3 gives \"abc\", flags 0\n"));
}

#[test]
fn no_descriptor_is_free() {
    let printed = output(strange_after("ulimit -S -n 64", "full"));
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[..2].iter().all(|line| line.contains("RLIMIT_NOFILE is 64")), "{printed}");
    assert_eq!(lines[2..], ["a child says 1", "[2, 3]"]);
}

#[test]
fn few_descriptors_are_free() {
    assert!(output(strange_after("ulimit -S -n 64", "nearly-full")).ends_with("refused: true, worked: true\n"));
}

#[test]
fn no_process_is_allowed_any_more() {
    assert_eq!(output(strange("processes")), "refused: true\na child says 1\nworks\n");
}

/// README.md's first program.
fn first_program() -> String {
    let readme = text(Path::new(ROOT).join("README.md"));
    let (_, program) = readme.split_once("```rust\n").expect("README.md begins with a program");
    program.split_once("```").expect("it ends").0.to_owned()
}

/// Writes the program, with another type for what `main` returns, into a fixture.
fn returning(fixture: &Path, bin: &str, result: &str) {
    let (before, main) = (first_program(), "fn main() -> coproc::Result<()>");
    assert!(before.contains(main), "README.md's first program has another `main`");
    write(&fixture.join(format!("src/bin/{bin}.rs")), &before.replace(main, &format!("fn main() -> {result}")));
}

#[test]
fn first_program_of_the_readme() {
    let outside = fixture("outside");
    returning(&outside, "plain", "coproc::Result<()>");
    returning(&outside, "boxed", "Result<(), Box<dyn std::error::Error + Send + Sync>>");
    prints(&build(&outside, "plain", &[]), "400\n");
    prints(&build(&outside, "boxed", &[]), "400\n");
}

#[test]
fn first_program_of_the_readme_with_anyhow() {
    let outside = fixture("outside_anyhow");
    returning(&outside, "outside_anyhow", "anyhow::Result<()>");
    match try_build(&outside, "outside_anyhow", &[]) {
        Ok(program) => prints(&program, "400\n"),
        // The one dependency that this workspace itself has not.
        Err(said) if said.contains("failed to download") || said.contains("no matching package named `anyhow`") => {
            eprintln!("not tested, since anyhow cannot be had:\n{said}");
        }
        Err(said) => panic!("cannot be built:\n{said}"),
    }
}
