//! Orders to a simulator and what it tells: in the test's own process, or as JSON lines of a
//! program.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::linecard::record::read_wav;
use crate::linecard::{Order, Told};

/// Orders that wait, and told things.
const ORDERS_MAX: usize = 1_024;
const TOLD_MAX: usize = 8_192;
/// An order at most, in bytes.
const ORDER_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
/// The end of the orders is noticed so soon.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the thread of a simulator is told.
pub(crate) enum Command {
    Order(Order),
    /// What was no order.
    Refuse(String),
    Stop,
}

/// Gives orders to a simulator, from any thread.
pub struct Orders {
    commands: SyncSender<Command>,
    wake: UnixDatagram,
}

impl Orders {
    /// Gives an order.
    ///
    /// # Errors
    /// The simulator has ended.
    pub fn give(&self, order: Order) -> io::Result<()> {
        self.send(Command::Order(order))
    }

    /// Lets [`Told::Refused`] be told, for something that is no order.
    ///
    /// # Errors
    /// The simulator has ended.
    pub fn refuse(&self, why: String) -> io::Result<()> {
        self.send(Command::Refuse(why))
    }

    fn send(&self, command: Command) -> io::Result<()> {
        self.commands.send(command).map_err(|_| io::Error::other("the simulator has ended"))?;
        // A full socket is a thread that is awake already.
        let _ = self.wake.send(&[1]);
        Ok(())
    }
}

/// The end of a console that the simulator's thread has.
pub(crate) struct StageEnd {
    commands: Receiver<Command>,
    told: SyncSender<Told>,
    woken: UnixDatagram,
}

impl StageEnd {
    /// Readable when there may be commands.
    pub(crate) const fn woken(&self) -> &UnixDatagram {
        &self.woken
    }

    /// The next command, if there is one.
    ///
    /// # Errors
    /// The simulator is no longer wanted.
    pub(crate) fn next(&self) -> Result<Option<Command>, ()> {
        let mut byte = [0];
        while self.woken.recv(&mut byte).is_ok() {}
        match self.commands.try_recv() {
            Ok(command) => Ok(Some(command)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(()),
        }
    }

    pub(crate) fn tell(&self, told: Told) {
        // Whoever does not listen to thousands of them does not want them.
        let _ = self.told.try_send(told);
    }
}

/// Where orders are given and heard of. Dropping it ends the simulator.
pub struct Console {
    directory: PathBuf,
    orders: Orders,
    told: Receiver<Told>,
    thread: Option<JoinHandle<()>>,
}

impl Console {
    /// `directory` is for files that [`Self::heard`] needs.
    pub(crate) fn new(directory: &Path) -> io::Result<(Self, StageEnd)> {
        let (wake, woken) = UnixDatagram::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (commands, commands_in) = sync_channel(ORDERS_MAX);
        let (told_out, told) = sync_channel(TOLD_MAX);
        let orders = Orders { commands, wake };
        let console = Self { directory: directory.to_path_buf(), orders, told, thread: None };
        Ok((console, StageEnd { commands: commands_in, told: told_out, woken }))
    }

    pub(crate) fn run(&mut self, name: &str, stage: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.thread = Some(std::thread::Builder::new().name(name.to_owned()).spawn(stage)?);
        Ok(())
    }

    /// Gives an order.
    ///
    /// # Errors
    /// The simulator has ended.
    pub fn order(&self, order: Order) -> io::Result<()> {
        self.orders.give(order)
    }

    /// For orders from another thread.
    ///
    /// # Errors
    /// There are no more sockets.
    pub fn orders(&self) -> io::Result<Orders> {
        Ok(Orders { commands: self.orders.commands.clone(), wake: self.orders.wake.try_clone()? })
    }

    /// The next thing that it tells, within `limit`.
    #[must_use]
    pub fn told(&self, limit: Duration) -> Option<Told> {
        self.told.recv_timeout(limit).ok()
    }

    /// Waits until `pick` takes something told; what it does not take is passed over.
    ///
    /// # Errors
    /// What was told instead, after `limit`.
    pub fn wait<T>(&self, limit: Duration, mut pick: impl FnMut(&Told) -> Option<T>) -> Result<T, Vec<Told>> {
        let end = Instant::now() + limit;
        let mut instead = Vec::new();
        while let Some(told) = self.told(end.saturating_duration_since(Instant::now())) {
            if let Some(picked) = pick(&told) {
                return Ok(picked);
            }
            instead.push(told);
        }
        Err(instead)
    }

    /// What somebody at a port heard since it was told to forget. What is told meanwhile is
    /// passed over.
    ///
    /// # Errors
    /// There is no such port, or the file is not to be written.
    pub fn heard(&self, port: usize) -> io::Result<Vec<i16>> {
        let file = self.directory.join("heard.wav").to_string_lossy().into_owned();
        self.order(Order::Save { port, file: file.clone() })?;
        let saved = self.wait(Duration::from_secs(20), |told| {
            if let Told::Refused { why } = told {
                return Some(Err(io::Error::other(why.clone())));
            }
            matches!(told, Told::Saved { .. }).then_some(Ok(()))
        });
        saved.map_err(|instead| io::Error::other(format!("not saved, but {instead:?}")))??;
        read_wav(&file)
    }

    /// Reads orders from the standard input and writes what is told to the standard output, until
    /// the end of either.
    ///
    /// # Errors
    /// Nobody reads the output.
    pub fn serve(&self) -> io::Result<()> {
        let orders = self.orders()?;
        let ended = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ended);
        // Not waited for: it may sit in a read for ever after the output is gone.
        std::thread::Builder::new().name(String::from("orders")).spawn(move || {
            // The end of the input, or of the simulator: both end this program.
            let _ = read_orders(&orders);
            over.store(true, Ordering::Release);
        })?;
        let mut output = io::stdout().lock();
        loop {
            if let Some(told) = self.told(LOOK_EVERY) {
                serde_json::to_writer(&mut output, &told)?;
                output.write_all(b"\n")?;
                output.flush()?;
            } else if ended.load(Ordering::Acquire) {
                return Ok(());
            }
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Refused only by a thread that has ended.
        let _ = self.orders.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

fn read_orders(orders: &Orders) -> io::Result<()> {
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        if (&mut input).take(ORDER_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match serde_json::from_slice(&line) {
            Ok(order) => orders.give(order)?,
            Err(error) => orders.refuse(error.to_string())?,
        }
    }
}
