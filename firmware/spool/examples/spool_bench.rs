//! What the spool costs: `cargo xtask bench spool`.
//!
//! `spool_bench FOLDER` measures on the disk that the folder is on and prints a table; beside
//! each figure stands what the same disk does without a spool, and the ratio of the two.

#[path = "../tests/webhook/mod.rs"]
mod webhook;

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tipring_spool::{Class, Spool, open, reopen};
use webhook::webhook;

/// Makes a record of some 600 bytes, as most webhooks are.
const BODY_BYTES: usize = 200;
/// Who puts at the same time.
const PUTTERS: [u64; 2] = [1, 64];
/// How long each loop runs, and how often: the middle one counts.
const LOOP: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;
/// A spool of a box whose server is long away: this many rows.
const ROWS: u64 = 50_000;
/// Answers that are waited for at the same time while a spool is filled.
const UNANSWERED_MAX: usize = 1_000;
/// Makes long records, so that a full spool has few.
const LARGE_BODY_BYTES: usize = 16_000;
/// As much as a spool holds, in bytes, before new webhooks displace old ones.
const FULL_BYTES: u64 = 64 * 1024 * 1024;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--resident", folder] => {
            let (spool, _) = spool(Path::new(folder))?;
            writeln!(stdout(), "{} {}", spool.counters().waiting, resident_kib()?)?;
            Ok(())
        }
        [folder] => measure(Path::new(folder)),
        _ => Err("usage: spool_bench FOLDER".into()),
    }
}

fn measure(folder: &Path) -> Result<(), Failure> {
    let mut out = stdout().lock();
    let record = webhook(0, Class::Final, BODY_BYTES).to_record()?;
    writeln!(out, "{:<44} {:>9} {:>9} {:>6}", "what", "spool", "bare", "ratio")?;

    let (mut bare, mut one, mut many) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let place = folder.join(format!("round-{round}"));
        std::fs::create_dir_all(&place)?;
        bare.push(bare_appends(&place.join("bare"), &record)?);
        let (spool, _) = spool(&place.join("webhooks"))?;
        one.push(puts(&spool, PUTTERS[0])?);
        many.push(puts(&spool, PUTTERS[1])?);
        drop(spool);
        std::fs::remove_dir_all(&place)?;
    }
    let bare = middle(bare);
    for (putters, appends) in PUTTERS.into_iter().zip([middle(one), middle(many)]) {
        let name = format!("durable, {putters} at a time");
        row(&mut out, &format!("{name}, per second"), appends.per_second, bare.per_second)?;
        row(&mut out, &format!("{name}, p50 in ms"), appends.p50_ms, bare.p50_ms)?;
        row(&mut out, &format!("{name}, p99 in ms"), appends.p99_ms, bare.p99_ms)?;
    }

    let full = folder.join("full");
    let length = webhook(0, Class::Final, LARGE_BODY_BYTES).to_record()?.len();
    let count = fill(&full, LARGE_BODY_BYTES, FULL_BYTES / length as u64)?;
    let began = Instant::now();
    let (spool_full, bytes) = spool(&full)?;
    let took = began.elapsed();
    if spool_full.counters().waiting != count {
        return Err("the full spool lost something".into());
    }
    drop(spool_full);
    let mib = bytes >> 20;
    row(&mut out, &format!("opening {mib} MiB, in ms"), ms(took), ms(reading(&full.join("db"))?))?;

    let rows = folder.join("rows");
    let (empty_rows, empty_kib) = resident(&folder.join("empty"))?;
    fill(&rows, BODY_BYTES, ROWS)?;
    let (count, kib) = resident(&rows)?;
    if (empty_rows, count) != (0, ROWS) {
        return Err("the rows are not all there".into());
    }
    let records_kib = (ROWS * record.len() as u64) >> 10;
    row(
        &mut out,
        &format!("memory, {ROWS} rows over none, in KiB"),
        to_f64(kib - empty_kib),
        to_f64(records_kib),
    )?;
    writeln!(out, "\nA record has {} bytes; an empty spool's process {empty_kib} KiB.", record.len())?;
    writeln!(out, "Bare: write and fdatasync in a loop; reading the file once; the records' own length.")?;
    Ok(())
}

fn row(out: &mut impl std::io::Write, what: &str, spool: f64, bare: f64) -> std::io::Result<()> {
    writeln!(out, "{what:<44} {spool:>9.2} {bare:>9.2} {:>6.2}", spool / bare)
}

/// What a loop of appends did.
#[derive(Clone, Copy)]
struct Appends {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Appends {
    fn of(mut latencies: Vec<Duration>, took: Duration) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default();
        let count = u32::try_from(latencies.len()).unwrap_or(u32::MAX);
        Self { per_second: f64::from(count) / took.as_secs_f64(), p50_ms: ms(at(50)), p99_ms: ms(at(99)) }
    }
}

/// The one in the middle, by its rate.
fn middle(mut appends: Vec<Appends>) -> Appends {
    appends.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    appends[appends.len() / 2]
}

/// The same bytes, appended to a file and synced, one after the other.
fn bare_appends(path: &Path, record: &[u8]) -> Result<Appends, Failure> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let (mut latencies, began) = (Vec::new(), Instant::now());
    while began.elapsed() < LOOP {
        let one = Instant::now();
        file.write_all(record)?;
        file.sync_data()?;
        latencies.push(one.elapsed());
    }
    Ok(Appends::of(latencies, began.elapsed()))
}

/// So many who put one webhook after the other, each waiting until it is durable.
fn puts(spool: &Spool, putters: u64) -> Result<Appends, Failure> {
    let began = Instant::now();
    let putter = |putter: u64| -> Result<Vec<Duration>, Failure> {
        let mut latencies = Vec::new();
        while began.elapsed() < LOOP {
            let entry = webhook(putter << 32 | latencies.len() as u64, Class::Final, BODY_BYTES);
            let one = Instant::now();
            spool.put(&entry).blocking_recv()??;
            latencies.push(one.elapsed());
        }
        Ok(latencies)
    };
    let latencies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..putters).map(|n| scope.spawn(move || putter(n))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a putter panicked")??);
        }
        Ok::<_, Failure>(all)
    })?;
    Ok(Appends::of(latencies, began.elapsed()))
}

/// Puts so many webhooks. Gives how many there are then.
fn fill(folder: &Path, body_bytes: usize, rows: u64) -> Result<u64, Failure> {
    let (spool, _) = spool(folder)?;
    let mut next = 0;
    while next < rows {
        let answers: Vec<_> = (next..rows)
            .take(UNANSWERED_MAX)
            .map(|n| spool.put(&webhook(n, Class::Final, body_bytes)))
            .collect();
        next += answers.len() as u64;
        for answer in answers {
            answer.blocking_recv()??;
        }
    }
    Ok(spool.counters().waiting)
}

fn spool(folder: &Path) -> Result<(Spool, u64), Failure> {
    let opened = open(folder)?;
    let again = folder.to_owned();
    let again = move || reopen(&again).map(|(store, mark)| (Box::new(store) as _, Some(mark)));
    let (spool, _) = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(again))?;
    let bytes = spool.counters().bytes;
    Ok((spool, bytes))
}

/// How long it takes to read a file once, as opening a spool must.
fn reading(path: &Path) -> Result<Duration, Failure> {
    let (began, mut bytes) = (Instant::now(), Vec::new());
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(began.elapsed())
}

/// Rows and resident KiB of a process of its own that has the spool open.
fn resident(folder: &Path) -> Result<(u64, u64), Failure> {
    let program: PathBuf = std::env::current_exe()?;
    let output = Command::new(program).arg("--resident").arg(folder).output()?;
    let text = String::from_utf8(output.stdout)?;
    let (rows, kib) = text.trim().split_once(' ').ok_or("the process with the spool said nothing")?;
    Ok((rows.parse()?, kib.parse()?))
}

fn resident_kib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn to_f64(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX))
}
