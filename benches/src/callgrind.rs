//! Runs the programs that do the work: one under callgrind, one under an allocator that counts.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tagtrail_benches::case::TIMES;

use crate::profile::profile;

/// The function that callgrind counts in, as it is named in the programs.
const COUNTED: &str = "tagtrail_benches::case::counted";

/// What a piece of work costs, done once.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) work: String,
    pub(crate) who: String,
    /// Instructions; nanoseconds, in a table of times; a multiple of the bare server's, for a server.
    pub(crate) amount: f64,
    pub(crate) allocations: f64,
}

/// Takes off what each case names as not its own.
pub(crate) fn net(counted: &[(Cost, String)]) -> Vec<Cost> {
    let cost = |(cost, over): &(Cost, String)| {
        let base = counted.iter().map(|(base, _)| base).find(|base| base.work == *over && base.work != cost.work);
        let (amount, allocations) = base.map_or((0.0, 0.0), |base| (base.amount, base.allocations));
        Cost { amount: cost.amount - amount, allocations: cost.allocations - allocations, ..cost.clone() }
    };
    counted.iter().map(cost).collect()
}

/// Two programs with the same cases.
pub(crate) struct Program {
    directory: PathBuf,
    /// Before the names of the two programs.
    prefix: String,
    /// What each call is given, before the names of the work.
    arguments: Vec<String>,
}

impl Program {
    /// The crate's own cases.
    pub(crate) fn ours() -> Self {
        Self { directory: target(), prefix: String::new(), arguments: Vec::new() }
    }

    /// Those of the peers, which are built first: a group of them in a process of its own.
    pub(crate) fn peers() -> Result<Vec<Self>, Box<dyn Error>> {
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--package", "peers"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        output(&mut build)?;
        let program =
            |group: &str| Self { directory: target(), prefix: "peer-".to_owned(), arguments: vec![group.to_owned()] };
        let groups = output(&mut Command::new(target().join("peer-instructions")))?;
        Ok(groups.lines().map(program).collect())
    }

    /// Counts the cases whose work begins in one of these ways, and takes off what is not the work's.
    pub(crate) fn count(&self, works: &[&str]) -> Result<Vec<Cost>, Box<dyn Error>> {
        let (names, callgrind) = self.under_callgrind(&self.file("instructions"), works)?;
        let instructions = totals(&callgrind);
        let allocations = output(Command::new(self.file("allocations")).args(&self.arguments).args(works))?;
        let mut counted = Vec::new();
        for ((name, total), allocations) in names.lines().zip(instructions).zip(allocations.lines()) {
            let fields: Vec<&str> = name.split('\t').collect();
            let &[work, who, over, _] = &fields[..] else { return Err(format!("a strange line: {name}").into()) };
            let allocations = allocations.rsplit('\t').next().unwrap_or_default().parse::<f64>()?;
            let cost = Cost {
                work: work.to_owned(),
                who: who.to_owned(),
                amount: total / f64::from(TIMES),
                allocations: allocations / f64::from(TIMES),
            };
            counted.push((cost, over.to_owned()));
        }
        if counted.len() != names.lines().count() {
            return Err(format!("callgrind wrote {} parts for {} cases", counted.len(), names.lines().count()).into());
        }
        Ok(net(&counted))
    }

    /// Where the instructions of one case go, by function and by line.
    pub(crate) fn profile(&self, work: &str) -> Result<String, Box<dyn Error>> {
        // With line tables, which change no code, in a folder of their own.
        let directory = target().with_file_name("profile");
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--bin", "instructions", "--target-dir"]).arg(&directory);
        output(build.env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only").current_dir(env!("CARGO_MANIFEST_DIR")))?;
        let program = directory.join("release/instructions");
        let named = output(Command::new(&program).args(&self.arguments).arg(work))?;
        let case = named.lines().find_map(|line| line.strip_prefix(work)?.strip_prefix('\t')?.split('\t').nth(1));
        let over = case.ok_or_else(|| format!("no work has the name {work}"))?;
        // A file for each part, in a folder that holds nothing else.
        let parts = directory.join("parts");
        if parts.exists() {
            fs::remove_dir_all(&parts)?;
        }
        fs::create_dir(&parts)?;
        let printed = output(callgrind(&parts.join("part")).arg(program).args(&self.arguments).args([over, work]))?;
        let part = |work: &str| -> Result<String, Box<dyn Error>> {
            let index = printed.lines().position(|line| line.split('\t').next() == Some(work)).ok_or("no part")?;
            Ok(fs::read_to_string(parts.join(format!("part.{}", index + 1)))?)
        };
        Ok(format!("{work}, over {over}\n\n{}", profile(&part(work)?, &part(over)?)))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{}{name}", self.prefix))
    }

    /// What the program prints, and what callgrind writes.
    fn under_callgrind(&self, program: &Path, works: &[&str]) -> Result<(String, String), Box<dyn Error>> {
        let file = target().join(format!("callgrind.{}", std::process::id()));
        let printed =
            output(callgrind(&file).arg("--combine-dumps=yes").arg(program).args(&self.arguments).args(works))?;
        let written = fs::read_to_string(&file)?;
        fs::remove_file(&file)?;
        Ok((printed, written))
    }
}

/// Callgrind, which counts a whole program.
pub(crate) fn valgrind(file: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", file.display()));
    command
}

/// Callgrind, which counts in one function, and writes a part whenever that returns.
fn callgrind(file: &Path) -> Command {
    let mut command = valgrind(file);
    command.arg(format!("--toggle-collect={COUNTED}")).arg(format!("--dump-after={COUNTED}"));
    command
}

/// The folder of this program, and of those that are built with it.
pub(crate) fn target() -> PathBuf {
    std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned)).unwrap_or_default()
}

/// The instructions of each part; the last is the end of the program.
pub(crate) fn totals(callgrind: &str) -> Vec<f64> {
    let totals = callgrind.lines().filter_map(|line| line.strip_prefix("totals: "));
    totals.filter_map(|total| total.parse().ok()).collect()
}

pub(crate) fn output(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
