//! What a script's process may still ask of the system: memory, the time it has used, chance, and
//! to read and write what is open. No file, no socket, no device, no other process.
//!
//! Three walls stand behind each other. Limits of the process keep it from opening anything and
//! from growing. Landlock refuses it the file system and the network where the kernel knows how.
//! Seccomp lets it call about thirty of the system's functions and refuses the rest.

use std::collections::BTreeMap;
use std::io;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, Scope};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, nice, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit,
};
use rustix::thread::set_no_new_privs;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// Memory of the process besides its program: the engine's heap of 16 MiB, messages of 4 MiB in
/// several copies, and room.
const MEMORY_BYTES_MAX: u64 = 96 * 1024 * 1024;

/// How far a script steps back behind others.
const NICE: i32 = 5;

/// What may be asked without conditions.
const ALLOWED: [libc::c_long; 24] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rseq,
];

/// Shuts the process in. There is no way back.
///
/// # Errors
/// When the kernel refuses one of the walls. The process must then not go on.
pub(crate) fn enter() -> io::Result<()> {
    // A daemon that is gone takes its scripts with it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    // Calls go first.
    nice(NICE)?;
    // It needs a descriptor for a moment.
    landlock()?;
    for (resource, most) in [
        // Beyond the three that are open.
        (Resource::Nofile, 3),
        (Resource::Nproc, 0),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Data, MEMORY_BYTES_MAX),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    let filter = filter().map_err(io::Error::other)?;
    seccompiler::apply_filter_all_threads(&filter).map_err(io::Error::other)
}

/// Nothing is allowed, as far as the kernel knows the kind of thing. An older one knows less, and
/// the other walls stand.
fn landlock() -> io::Result<()> {
    const NEWEST: ABI = ABI::V6;
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map(drop)
        .map_err(io::Error::other)
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let equal =
        |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    let without = |argument, bits| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits), 0)
    };
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let no_file = u64::from(u32::MAX);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    // Memory, but of no file and not to be run.
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![without(2, executable)?, equal(4, no_file)?])?]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![without(2, executable)?])?]);
    // To whom the socket is connected, and to nobody else.
    let to_nobody = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_sendto, vec![SeccompRule::new(vec![to_nobody])?]);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::process::{Command, Stdio};

    use super::*;

    /// Its name, whether it may be done, and how it is done.
    type Try = (&'static str, bool, fn() -> bool);

    /// What a process in the cell tries.
    const TRIES: [Try; 19] = [
        ("memory", true, || vec![1u8; 1 << 20].len() == 1 << 20),
        ("output", true, || std::io::stdout().write_all(b"x").is_ok()),
        ("open a file", false, || File::open("/etc/passwd").is_ok()),
        ("make a file", false, || File::create("/tmp/tipring-cell").is_ok()),
        ("open a device", false, || File::open("/dev/zero").is_ok()),
        ("open itself", false, || File::open("/proc/self/exe").is_ok()),
        ("list a folder", false, || std::fs::read_dir("/").is_ok_and(|mut all| all.next().is_some())),
        ("look at a file", false, || std::fs::metadata("/etc/passwd").is_ok()),
        ("remove a file", false, || std::fs::remove_file("/tmp/tipring-cell").is_ok()),
        ("listen", false, || TcpListener::bind("127.0.0.1:0").is_ok()),
        ("connect", false, || TcpStream::connect("127.0.0.1:1").is_ok()),
        ("a datagram", false, || UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("a unix socket", false, || UnixDatagram::unbound().is_ok()),
        ("a pair", false, || UnixStream::pair().is_ok()),
        ("a pipe", false, || std::io::pipe().is_ok()),
        ("a process", false, || Command::new("/bin/true").status().is_ok()),
        ("a thread", false, || std::thread::Builder::new().spawn(|| {}).is_ok()),
        ("signal a process", false, || {
            rustix::process::kill_process(rustix::process::getpid(), Signal::CONT).is_ok()
        }),
        ("more memory than there may be", false, || {
            let mut all: Vec<u8> = Vec::new();
            all.try_reserve_exact(usize::try_from(MEMORY_BYTES_MAX).unwrap() * 2).is_ok()
        }),
    ];

    /// Set in the environment of the process that tries.
    const INSIDE: &str = "TIPRING_TEST_CELL";

    /// This test starts its own program again, so that only that is shut in.
    #[test]
    fn nothing_is_reached_from_the_cell() {
        if let Some(name) = std::env::var_os(INSIDE) {
            let name = name.into_string().unwrap();
            let (_, _, attempt) = TRIES.iter().find(|(known, _, _)| *known == name).unwrap();
            if enter().is_err() {
                std::process::exit(7);
            }
            std::process::exit(if attempt() { 3 } else { 4 });
        }
        let program = std::env::current_exe().unwrap();
        for (name, may, attempt) in TRIES {
            if name != "remove a file" && name != "connect" && name != "more memory than there may be" {
                assert!(attempt(), "{name}: it cannot be done outside either");
            }
            let status = Command::new(&program)
                .args(["script::cell::tests::nothing_is_reached_from_the_cell", "--exact", "--nocapture"])
                .env(INSIDE, name)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(status.code(), Some(if may { 3 } else { 4 }), "{name}: {status}");
        }
        let _ = std::fs::remove_file("/tmp/tipring-cell");
    }
}
