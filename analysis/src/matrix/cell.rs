//! One cell of a matrix.

use policy_compiler::cidr::Family;

use crate::reach::Passage;

/// What passes from one row to one column on one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// All of it.
    Allowed,
    /// None of it.
    Denied,
    /// Only over one family, of the two that both ends have.
    Only(Family),
    /// Between some of their pods, not between all.
    Some,
    /// Row and column are one and the same pod, which may always speak to itself (rule 99).
    Itself,
    /// There is no way: no common family, or nobody of the cluster at either end.
    NoWay,
}

impl Cell {
    /// The character that stands for it in a text matrix.
    pub fn symbol(self) -> char {
        match self {
            Self::Allowed => '.',
            Self::Denied => 'X',
            Self::Only(Family::V4) => '4',
            Self::Only(Family::V6) => '6',
            Self::Some => '~',
            Self::Itself => '-',
            Self::NoWay => ' ',
        }
    }
}

/// What the pairs of pods behind a cell came to, so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcomes(u8);

const ALLOWED: u8 = 1;
const DENIED: u8 = 2;
const ONLY_V4: u8 = 4;
const ONLY_V6: u8 = 8;
const ITSELF: u8 = 16;

impl Outcomes {
    pub(super) fn add(&mut self, passage: Passage) {
        self.0 |= match passage {
            Passage::Allowed => ALLOWED,
            Passage::Denied => DENIED,
            Passage::Only(Family::V4) => ONLY_V4,
            Passage::Only(Family::V6) => ONLY_V6,
            Passage::NoFamily => 0,
        };
    }

    pub(super) fn add_allowed(&mut self) {
        self.0 |= ALLOWED;
    }

    pub(super) fn add_itself(&mut self) {
        self.0 |= ITSELF;
    }

    /// A pod and itself say nothing beside pairs of different pods.
    pub(super) fn cell(self) -> Cell {
        match self.0 & !ITSELF {
            0 if self.0 == ITSELF => Cell::Itself,
            0 => Cell::NoWay,
            ALLOWED => Cell::Allowed,
            DENIED => Cell::Denied,
            ONLY_V4 => Cell::Only(Family::V4),
            ONLY_V6 => Cell::Only(Family::V6),
            _ => Cell::Some,
        }
    }
}
