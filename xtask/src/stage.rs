//! The processes of a measurement: built, started, told apart, and ended.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};

use crate::workspace;

mod build;

pub(crate) use build::Build;

/// Where the programs are, and where a run may write.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    target: PathBuf,
    /// The testkit's servers.
    servers: PathBuf,
    /// What stands between clients and servers: Wharf, and the proxy that does nothing.
    between: PathBuf,
    /// Where what stands between writes what it has run, if it is to.
    counts: Option<PathBuf>,
    folder: PathBuf,
}

/// A program that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    address: SocketAddr,
    command: Recipe,
    child: Child,
}

/// How to start a program, and start it again.
#[derive(Debug, Clone)]
struct Recipe {
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
}

/// How long a program may take until it listens.
const UP_WITHIN: Duration = Duration::from_secs(20);

/// How long a program may take to end once it is told to.
const DOWN_WITHIN: Duration = Duration::from_secs(20);

// === impl Stage ===

impl Stage {
    /// Builds what is measured, and a folder under `target/` for what it writes. With [`Build::Guided`] it has yet to be
    /// said where what stands between is: see [`Stage::with_between`].
    ///
    /// # Errors
    ///
    /// Where the build fails.
    pub(crate) fn set(root: &Path, build: Build) -> Result<Self> {
        let is_slow = build != Build::Dev && cfg!(debug_assertions);
        build.run(root, is_slow)?;
        let target = workspace::target(root)?;
        let programs = target.join(build.folder());
        if is_slow {
            return Err(take_over(&programs.join("xtask")));
        }
        let folder = target.join("measure").join(std::process::id().to_string());
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { target, servers: programs.clone(), between: programs, counts: None, folder })
    }

    /// The same, with what stands between clients and servers from another folder.
    pub(crate) fn with_between(mut self, folder: PathBuf) -> Self {
        self.between = folder;
        self
    }

    /// The same, with callgrind counting what is run between clients and servers, into a file.
    pub(crate) fn counting_into(mut self, counts: PathBuf) -> Self {
        self.counts = Some(counts);
        self
    }

    /// A program that stands between clients and servers.
    pub(crate) fn between(&self, program: &str) -> PathBuf {
        self.between.join(program)
    }

    /// Where cargo builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A file of this run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts one of the testkit's servers, with more flags for it.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub(crate) async fn upstream(&self, program: &str, flags: &[&str]) -> Result<Process> {
        let program_path = self.servers.join(program);
        self.start(program, program_path, |address| {
            let mut args = vec!["--listen".to_owned(), address.to_string()];
            args.extend(flags.iter().map(|&flag| flag.to_owned()));
            args
        })
        .await
    }

    /// Starts the gateway with a configuration; `admin` is its second address.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub(crate) async fn wharf(&self, name: &str, config: &str) -> Result<Gateway> {
        let file = self.file(&format!("{name}.toml"));
        std::fs::write(&file, config)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let admin = free_address()?;
        let process = self
            .start_between(name, "wharf", |address| {
                let words = ["serve", "--config", &file.to_string_lossy(), "--log", "warn"];
                let mut args: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
                args.extend(["--listen".to_owned(), address.to_string()]);
                args.extend(["--admin".to_owned(), admin.to_string()]);
                args
            })
            .await?;
        Ok(Gateway { process, admin })
    }

    /// Starts the proxy that does nothing.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub(crate) async fn bare_proxy(&self, upstream: SocketAddr) -> Result<Process> {
        self.start_between("bare-proxy", "bare-proxy", |address| {
            vec![address.to_string(), upstream.to_string()]
        })
        .await
    }

    async fn start_between(
        &self,
        name: &str,
        program: &str,
        args: impl FnOnce(SocketAddr) -> Vec<String>,
    ) -> Result<Process> {
        let program = self.between(program);
        let Some(counts) = &self.counts else {
            return self.start(name, program, args).await;
        };
        self.start(name, "valgrind".into(), |address| {
            let counts = format!("--callgrind-out-file={}", counts.display());
            let program = program.to_string_lossy().into_owned();
            let mut words = vec!["--tool=callgrind".to_owned(), counts, program];
            words.extend(args(address));
            words
        })
        .await
    }

    async fn start(
        &self,
        name: &str,
        program: PathBuf,
        args: impl FnOnce(SocketAddr) -> Vec<String>,
    ) -> Result<Process> {
        let address = free_address()?;
        let log = self.file(&format!("{name}-{}.log", address.port()));
        let command = Recipe { program, args: args(address), log };
        let child = command.spawn()?;
        let mut process = Process { name: name.to_owned(), address, command, child };
        process.until_up().await?;
        Ok(process)
    }
}

/// A gateway that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Its process, which listens for clients.
    pub(crate) process: Process,
    /// Where it listens for operators.
    pub(crate) admin: SocketAddr,
}

// === impl Process ===

impl Process {
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the program, without a word to it.
    ///
    /// # Errors
    ///
    /// Where it cannot be waited for.
    pub(crate) fn kill(&mut self) -> Result<()> {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Starts the program again after [`Process::kill`], at the same address.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        self.child = self.command.spawn()?;
        self.until_up().await
    }

    /// Tells the program to end, and waits until it has. Whether its exit status was that of success.
    ///
    /// # Errors
    ///
    /// Where it does not end in time.
    pub(crate) async fn end(&mut self) -> Result<bool> {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        told.context("cannot run `kill`")?;
        let deadline = Instant::now() + DOWN_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("cannot wait for a program")? {
                return Ok(status.success());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("{} did not end within {DOWN_WITHIN:?}", self.name)
    }

    async fn until_up(&mut self) -> Result<()> {
        let deadline = Instant::now() + UP_WITHIN;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait().context("cannot wait for a program")? {
                let log = std::fs::read_to_string(&self.command.log).unwrap_or_default();
                bail!("{} ended with {status} before it listened:\n{log}", self.name);
            }
            if Instant::now() > deadline {
                bail!("{} does not listen at {} after {UP_WITHIN:?}", self.name, self.address);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; nobody is left to tell.
        let _ = self.kill();
    }
}

// === impl Recipe ===

impl Recipe {
    fn spawn(&self) -> Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }
}

/// Goes on as the same program built for speed: what drives a measurement must not be what it measures. Comes back only
/// where that is impossible.
fn take_over(program: &Path) -> anyhow::Error {
    let error = Command::new(program).args(std::env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context(format!("cannot start {}", program.display()))
}

/// A loopback address that is free at this moment. The kernel gives the same port to nobody else for a while.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    listener.local_addr().context("a listener has no address")
}
