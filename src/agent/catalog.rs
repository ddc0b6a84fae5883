//! The families of agents' series, over all agents: those that musterd knows, and those that agents have
//! declared. A name is one thing on a node: its first declaration stands for as long as anyone has a
//! series of it.
//!
//! Must not know series or values.

use super::declaration::{Declared, stem};
use super::faults::Fault;
use super::known::{self, KNOWN, Known};
use crate::metric::{Batch, Foreign, Group, Kind};
use musterd_client::layout::Shape;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Shapes that are looked through for one that is the same.
const SHAPES: usize = 16;

/// A family's place in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyId(u32);

impl FamilyId {
    /// Its place in a batch's group: see [`Catalog::begin`].
    #[must_use]
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

/// All families.
#[derive(Debug)]
pub struct Catalog {
    families: Vec<Entry>,
    /// By names without the ending of a counter.
    by_stem: HashMap<String, FamilyId>,
    /// Series of all of them, as the limits count them.
    weight: usize,
    /// Shapes of histograms that came last.
    shapes: VecDeque<Arc<Shape>>,
}

/// A family.
#[derive(Debug)]
pub struct Entry {
    /// Full name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Help text.
    pub help: String,
    /// Its unit; empty for none.
    pub unit: String,
    /// If it is one that musterd knows.
    pub known: Option<&'static Known>,
    /// Series of it, of all agents.
    rows: usize,
}

impl Default for Catalog {
    fn default() -> Self {
        let mut catalog = Self {
            families: Vec::new(),
            by_stem: HashMap::new(),
            weight: 0,
            shapes: VecDeque::new(),
        };
        for known in &KNOWN {
            let family = &known.family;
            catalog.push(Entry {
                name: family.name.to_owned(),
                kind: family.kind,
                help: family.help.to_owned(),
                unit: String::new(),
                known: Some(known),
                rows: 0,
            });
        }
        catalog
    }
}

impl Catalog {
    /// The family that a declaration is of, if there is one yet.
    ///
    /// # Errors
    /// What is wrong with the declaration.
    pub fn find(&self, declared: &Declared<'_>) -> Result<Option<FamilyId>, Fault> {
        let found = self.by_stem.get(declared.stem()).copied();
        if known::check(declared)?.is_some() {
            return Ok(found);
        }
        let entry = found.and_then(|id| self.get(id));
        match entry.filter(|entry| entry.rows > 0) {
            None => Ok(None),
            Some(entry) if entry.is_as(declared) => Ok(found),
            Some(_) => Err(Fault::Conflict),
        }
    }

    /// Adds a family that [`Catalog::find`] has not found. Of those that agents have declared there are at
    /// most `limit`.
    ///
    /// # Errors
    /// When there are that many already.
    pub fn add(&mut self, declared: &Declared<'_>, limit: usize) -> Result<FamilyId, Fault> {
        let entry = Entry {
            name: declared.name.to_owned(),
            kind: declared.family_kind(),
            help: declared.help.to_owned(),
            unit: declared.unit.to_owned(),
            known: None,
            rows: 0,
        };
        let same = self.by_stem.get(declared.stem()).copied();
        if same.is_none() && self.families.len() < limit.saturating_add(KNOWN.len()) {
            return Ok(self.push(entry));
        }
        // The place of one that nobody has a series of any more.
        let is_unused = |entry: &Entry| entry.rows == 0 && entry.known.is_none();
        let unused = || self.families.iter().position(is_unused).and_then(|p| p.try_into().ok());
        let id = same.or_else(|| unused().map(FamilyId)).ok_or(Fault::OverLimit)?;
        if let Some(old) = self.families.get_mut(id.place()) {
            self.by_stem.remove(stem(&old.name));
            *old = entry;
        }
        self.by_stem.insert(declared.stem().to_owned(), id);
        Ok(id)
    }

    fn push(&mut self, entry: Entry) -> FamilyId {
        let id = FamilyId(u32::try_from(self.families.len()).unwrap_or(u32::MAX));
        self.by_stem.insert(stem(&entry.name).to_owned(), id);
        self.families.push(entry);
        id
    }

    /// A family.
    #[must_use]
    pub fn get(&self, id: FamilyId) -> Option<&Entry> {
        self.families.get(id.place())
    }

    /// The family of that stem, and how many series of it there are.
    #[must_use]
    pub fn by_stem(&self, stem: &str) -> Option<(FamilyId, usize)> {
        let id = *self.by_stem.get(stem)?;
        Some((id, self.get(id)?.rows))
    }

    /// The shape in the memory of one that is the same, if that came not long ago: nearly all histograms
    /// have one of a few.
    pub fn share(&mut self, shape: &Shape) -> Arc<Shape> {
        if let Some(known) = self.shapes.iter().find(|known| ***known == *shape) {
            return Arc::clone(known);
        }
        let shape = Arc::new(shape.clone());
        self.shapes.truncate(SHAPES - 1);
        self.shapes.push_front(Arc::clone(&shape));
        shape
    }

    /// Series of all families, of which one of many buckets counts as several.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// A series counts as another number of series than before, which is 0 where there is none.
    pub fn reweigh(&mut self, before: usize, now: usize) {
        self.weight = self.weight.saturating_sub(before).saturating_add(now);
    }

    /// There is one series more of a family.
    pub fn row_added(&mut self, id: FamilyId) {
        if let Some(entry) = self.families.get_mut(id.place()) {
            entry.rows += 1;
        }
    }

    /// There is one series less of a family.
    pub fn row_removed(&mut self, id: FamilyId) {
        if let Some(entry) = self.families.get_mut(id.place()) {
            entry.rows = entry.rows.saturating_sub(1);
        }
    }

    /// Begins all families in a batch, with room for all series.
    pub fn begin(&self, batch: &mut Batch) -> Group {
        batch.begin_group(self.families.iter().map(|entry| {
            let Entry { name, kind, help, unit, known: _, rows } = entry;
            (Foreign { name, help, unit, kind: *kind }, *rows)
        }))
    }
}

impl Entry {
    fn is_as(&self, declared: &Declared<'_>) -> bool {
        self.name == declared.name
            && self.kind == declared.family_kind()
            && self.unit == declared.unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use musterd_client::layout;

    fn gauge(name: &str) -> Declared<'_> {
        let kind = layout::Kind::Gauge;
        Declared { name, kind, labels: Vec::new(), help: "", unit: "", shape: None }
    }

    #[test]
    fn the_first_declaration_stands_while_it_is_used() {
        let mut catalog = Catalog::default();
        let counter = Declared { kind: layout::Kind::Counter, ..gauge("x_total") };
        assert_eq!(catalog.find(&counter), Ok(None));
        let id = catalog.add(&counter, 9).unwrap();
        catalog.row_added(id);
        assert_eq!(catalog.find(&counter), Ok(Some(id)));
        let fractions = Declared { kind: layout::Kind::FractionCounter, ..counter.clone() };
        assert_eq!(catalog.find(&fractions), Ok(Some(id)), "counters both");
        assert_eq!(catalog.find(&gauge("x")), Err(Fault::Conflict));
        let other = Declared { help: "Other.", ..counter.clone() };
        assert_eq!(catalog.find(&other), Ok(Some(id)), "the first help is shown");
        catalog.row_removed(id);
        assert_eq!(catalog.find(&gauge("x")), Ok(None));
        assert_eq!(catalog.add(&gauge("x"), 9), Ok(id), "in its place");
        assert_eq!(catalog.get(id).unwrap().name, "x");
    }

    #[test]
    fn families_are_bounded() {
        let mut catalog = Catalog::default();
        let first = catalog.add(&gauge("a"), 2).unwrap();
        let second = catalog.add(&gauge("b"), 2).unwrap();
        catalog.row_added(second);
        assert_eq!(catalog.add(&gauge("c"), 2), Ok(first), "nobody has any of it");
        catalog.row_added(first);
        assert_eq!(catalog.add(&gauge("d"), 2), Err(Fault::OverLimit));
        assert_eq!(catalog.find(&gauge("a")), Ok(None));
        assert_eq!(catalog.find(&gauge("b")), Ok(Some(second)));
    }

    #[test]
    fn what_is_musterds_own_is_not_declared() {
        let catalog = Catalog::default();
        for name in ["agent_up", "agent_errors_total", "agent_errors", "node_load1", "up"] {
            assert_eq!(catalog.find(&gauge(name)), Err(Fault::Unknown), "{name}");
        }
        assert_eq!(catalog.find(&gauge("x_total")), Err(Fault::Invalid));
    }
}
