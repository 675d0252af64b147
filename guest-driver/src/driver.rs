// SPDX-License-Identifier: GPL-3.0-only
//! Carries the agent's actions out: nodes on a xenstore, jobs and probes in threads that report back.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use toolstack::error::Result;
use toolstack::guest::{ANSWER, FROZEN, HEARTBEAT, ORDER, PROGRESS, VERSION};
use toolstack::store::{Request, Store, StoreExt, Watch, WatchEvent, XsPath};

use crate::agent::{Action, Agent, Asker, Job, Kept, Settings};
use crate::jobs::Worker;
use crate::probe::{Probe, Prober};
use crate::say;

/// The domain's number, below its own directory.
const DOMAIN: &str = "domid";
/// Least time that a probe waits for its answer.
const PROBE_LEAST: Duration = Duration::from_secs(1);

/// What a thread reports.
#[derive(Debug)]
pub enum News {
    /// A job's result.
    Done(Asker, Job, Result<String, String>),
    /// Whether the service answers.
    Probed(bool),
}

/// An agent on a xenstore.
#[derive(Debug)]
pub struct Driver<'a, S: ?Sized, W, N> {
    store: &'a S,
    agent: Agent,
    worker: W,
    began: Instant,
    sender: Sender<News>,
    receiver: Receiver<News>,
    /// Called by a thread that has sent news: wakes who sleeps.
    wake: N,
    /// Asks the prober's thread for one probe.
    probe: Sender<()>,
    /// The number of the domain, as it stands in xenstore.
    domain: Option<String>,
    /// Lines kept back while file systems are frozen: their reader may be waiting for a disk.
    lines: Vec<String>,
}

impl<'a, S, W, N> Driver<'a, S, W, N>
where
    S: Store + ?Sized,
    W: Worker,
    N: Fn() + Clone + Send + 'static,
{
    /// Watches for orders and says that the agent is there.
    ///
    /// # Errors
    /// xenstore does not answer, or the domain may not write below its `data`.
    pub fn start(
        store: &'a S,
        interval: Duration,
        probe: Probe,
        worker: W,
        wake: N,
    ) -> Result<Self> {
        let kept = kept(store)?;
        let settings = Settings {
            interval,
            probe: probe.to_string(),
        };
        let watch = Watch {
            path: XsPath::new(ORDER),
            token: "order".to_owned(),
        };
        store.watch(&watch)?;
        let domain = store.read_text(&XsPath::new(DOMAIN))?;
        let (sender, receiver) = channel();
        let limit = interval.max(PROBE_LEAST);
        let mut driver = Self {
            store,
            agent: Agent::new(settings, kept),
            worker,
            began: Instant::now(),
            probe: prober(probe, limit, sender.clone(), wake.clone()),
            sender,
            receiver,
            wake,
            domain,
            lines: Vec::new(),
        };
        driver.work()?;
        Ok(driver)
    }

    /// The time, as the agent counts it.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// When [`Self::work`] is to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.began + self.agent.poll_timeout()
    }

    /// Something has changed at the order's node, or the guest has woken up in another domain: Linux sets its watches again
    /// then, and each of them fires.
    ///
    /// # Errors
    /// xenstore does not answer.
    pub fn on_event(&mut self, _event: &WatchEvent) -> Result<()> {
        let paths = [ORDER, DOMAIN].map(XsPath::new);
        let mut values = self.store.read_many(&paths)?.into_iter();
        let (text, domain) = (values.next().flatten(), values.next().flatten());
        if domain.is_some() && domain != self.domain {
            self.domain = domain;
            self.agent.handle_moved(self.now());
        }
        let mounts = self.worker.mounts();
        self.agent
            .handle_order(self.now(), &text.unwrap_or_default(), &mounts);
        Ok(())
    }

    /// Does all that is due.
    ///
    /// # Errors
    /// xenstore does not answer.
    pub fn work(&mut self) -> Result<()> {
        while let Ok(news) = self.receiver.try_recv() {
            match news {
                News::Probed(answers) => self.agent.handle_probe(answers),
                News::Done(asker, job, result) => {
                    self.agent.handle_done(self.now(), asker, &job, result);
                }
            }
        }
        self.agent.handle_timeout(self.now());
        while let Some(action) = self.agent.poll_action() {
            self.carry_out(action)?;
        }
        if !self.agent.is_frozen() {
            self.lines.drain(..).for_each(|line| say(&line));
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Write(node, value) => self.put(&Request::write(XsPath::new(node), value))?,
            Action::Remove(node) => self.store.remove_all(&[XsPath::new(node)])?,
            Action::Say(line) => self.lines.push(line),
            // The prober ends with this driver, not before it.
            Action::Probe => drop(self.probe.send(())),
            Action::Start(asker, job) => {
                let (worker, sender, wake) =
                    (self.worker.clone(), self.sender.clone(), self.wake.clone());
                let work = move || {
                    let result = worker.perform(&job);
                    // Without a receiver the agent has ended: nobody is there to be told.
                    drop(sender.send(News::Done(asker, job, result)));
                    wake();
                };
                std::thread::spawn(work);
            }
        }
        Ok(())
    }

    /// Writes a node. A refusal (the quota is used up, say) is told; the next beat tries again, and a broken
    /// connection ends the agent.
    fn put(&mut self, request: &Request) -> Result<()> {
        for reply in self.store.batch(std::slice::from_ref(request))? {
            if let Err(errno) = reply {
                let error = toolstack::store::util::refused(request, &errno);
                self.lines.push(error.to_string());
            }
        }
        Ok(())
    }

    /// Ends: thaws what is frozen, and takes the version away.
    ///
    /// # Errors
    /// What could not be thawed, or xenstore does not answer.
    pub fn stop(&mut self) -> Result<()> {
        let thawed = self.worker.perform(&Job::Thaw(Vec::new()));
        let mut gone = vec![XsPath::new(VERSION)];
        match thawed {
            Ok(_) => gone.push(XsPath::new(FROZEN)),
            Err(why) => say(&why),
        }
        self.store.remove_all(&gone)
    }
}

/// What an agent that ran before has left in xenstore.
fn kept<S: Store + ?Sized>(store: &S) -> Result<Kept> {
    let paths = [HEARTBEAT, PROGRESS, FROZEN, ANSWER, ORDER].map(XsPath::new);
    let mut values = store.read_many(&paths)?.into_iter();
    let mut next = || values.next().flatten().unwrap_or_default();
    Ok(Kept {
        heartbeat: next().parse().unwrap_or(0),
        progress: next().parse().unwrap_or(0),
        frozen: next().split_ascii_whitespace().map(str::to_owned).collect(),
        answer: next().parse().ok(),
        order: Some(next()).filter(|order| !order.is_empty()),
    })
}

/// Starts the thread that asks the service whenever it is told to.
fn prober(
    probe: Probe,
    limit: Duration,
    news: Sender<News>,
    wake: impl Fn() + Send + 'static,
) -> Sender<()> {
    let (ask, asked) = channel();
    let mut prober = Prober::new(probe);
    std::thread::spawn(move || {
        while asked.recv().is_ok() {
            let answers = prober.answers(limit);
            if news.send(News::Probed(answers)).is_err() {
                return;
            }
            wake();
        }
    });
    ask
}

#[cfg(test)]
mod tests;
