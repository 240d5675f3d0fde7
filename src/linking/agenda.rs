//! Which namespace is looked at when. Each is looked at by one at a time. Pure; time is passed in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

/// The first pause after a look that settled nothing.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest one.
const LONGEST: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Default)]
pub struct Agenda {
    /// By time, then in the order of names.
    times: BTreeSet<(Instant, Arc<str>)>,
    /// The time of each namespace in `times`.
    waiting: BTreeMap<Arc<str>, Instant>,
    /// Those that are being looked at; true if something changed since.
    under_way: HashMap<Arc<str>, bool>,
    /// How often in a row a look settled nothing.
    failures: HashMap<Arc<str>, u32>,
}

impl Agenda {
    /// These are to be looked at now.
    pub fn wake(&mut self, namespaces: impl IntoIterator<Item = Arc<str>>, now: Instant) {
        for namespace in namespaces {
            match self.under_way.get_mut(&namespace) {
                Some(changed) => *changed = true,
                None => self.put(namespace, now),
            }
        }
    }

    /// The next one whose time has come. Whoever takes it says later how it went.
    pub fn take(&mut self, now: Instant) -> Option<Arc<str>> {
        self.times.first().filter(|(time, _)| *time <= now)?;
        let (_, namespace) = self.times.pop_first()?;
        self.waiting.remove(&namespace);
        self.under_way.insert(Arc::clone(&namespace), false);
        Some(namespace)
    }

    /// When the next one is to be looked at.
    pub fn next(&self) -> Option<Instant> {
        self.times.first().map(|(time, _)| *time)
    }

    /// Everything is as it should be.
    pub fn rests(&mut self, namespace: Arc<str>) {
        self.failures.remove(&namespace);
        self.finish(namespace, None);
    }

    /// The same, until then.
    pub fn rests_until(&mut self, namespace: Arc<str>, time: Instant) {
        self.failures.remove(&namespace);
        self.finish(namespace, Some(time));
    }

    /// It came to nothing. `jitter` is a random number in 0..1.
    pub fn fails(&mut self, namespace: Arc<str>, now: Instant, jitter: f64) {
        let failures = self.failures.entry(Arc::clone(&namespace)).or_default();
        let pause = SHORTEST.saturating_mul(1 << (*failures).min(16)).min(LONGEST).mul_f64(0.5 + jitter / 2.0);
        *failures = failures.saturating_add(1);
        // What changed meanwhile is no reason to try at once what comes to nothing.
        self.under_way.insert(Arc::clone(&namespace), false);
        self.finish(namespace, Some(now + pause));
    }

    fn finish(&mut self, namespace: Arc<str>, time: Option<Instant>) {
        let changed = self.under_way.remove(&namespace).unwrap_or(false);
        match time {
            _ if changed => self.put(namespace, Instant::now()),
            Some(time) => self.put(namespace, time),
            None => {}
        }
    }

    /// Puts one on the list for this time, if it is not there for an earlier one.
    fn put(&mut self, namespace: Arc<str>, time: Instant) {
        match self.waiting.get(&namespace) {
            Some(known) if *known <= time => return,
            Some(known) => drop(self.times.remove(&(*known, Arc::clone(&namespace)))),
            None => {}
        }
        self.waiting.insert(Arc::clone(&namespace), time);
        self.times.insert((time, namespace));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_looked_at_by_one_at_a_time_and_again_if_it_changed_meanwhile() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.wake([name("a"), name("b"), name("a")], now);
        assert_eq!((agenda.take(now), agenda.take(now)), (Some(name("a")), Some(name("b"))));
        agenda.wake([name("a")], now);
        assert_eq!(agenda.take(now), None);
        agenda.rests(name("b"));
        assert_eq!(agenda.next(), None);
        agenda.rests(name("a"));
        assert_eq!(agenda.take(Instant::now()), Some(name("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_to_nothing_is_tried_ever_more_seldom_and_what_changes_at_once() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.wake([name("a")], now);
        let mut pauses = vec![];
        let mut time = now;
        for _ in 0..3 {
            assert!(agenda.take(time).is_some());
            agenda.fails(name("a"), time, 1.0);
            let next = agenda.next().unwrap();
            pauses.push(next - time);
            time = next;
        }
        assert_eq!(pauses, [SHORTEST, 2 * SHORTEST, 4 * SHORTEST]);
        agenda.wake([name("a")], now);
        assert_eq!(agenda.next(), Some(now), "the sooner time counts");
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_of_one_counts() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.wake([name("a")], now);
        agenda.take(now);
        agenda.rests_until(name("a"), now + LONGEST);
        assert_eq!((agenda.take(now), agenda.next()), (None, Some(now + LONGEST)));
        agenda.wake([name("a")], now);
        assert_eq!(agenda.take(now), Some(name("a")));
        assert_eq!(agenda.next(), None);
    }
}
