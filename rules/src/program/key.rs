//! What an event may hold, as far as finding the predicates goes that could be true of it.
//!
//! A key is coarser than the test it stands for (letters are folded, of a pattern only one literal counts): whoever passes
//! the test holds the key, and the other way round need not be true.

use crate::expr::{Expr, Scalar, Test};
use crate::literal::{Literal, Number};
use crate::pattern::wildcard::{Piece, Wildcard};
use crate::pattern::{Case, fold};
use crate::schema::FieldId;

/// Shorter literals of patterns stand in nearly every text.
const MIN_PART: usize = 2;
/// More tells no more, and costs memory in the search for all of them.
const MAX_PART: usize = 24;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) field: FieldId,
    pub(super) holds: Holds,
}

/// Of one of the field's values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Holds {
    /// It is there.
    Something,
    /// It is this text, letters folded.
    Text(Box<str>),
    /// It reads as this number.
    Number(i64),
    /// This text is in it, letters folded.
    Part(Place, Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Start,
    End,
    Anywhere,
}

/// Keys of which an event must hold one for the atom to be true. `None`: it can be true of an event that holds nothing.
pub(super) fn of_atom(atom: &Expr) -> Option<Vec<Key>> {
    match atom {
        Expr::Const(false) => Some(Vec::new()),
        Expr::Exists(field) | Expr::IsSingle(field) => Some(vec![Key::something(*field)]),
        Expr::Any(field, test) | Expr::Item(field, _, test) => Some(of_test(*field, test)),
        Expr::Holds(scalar) => Some(vec![Key::something(needed_field(scalar)?)]),
        Expr::Const(true) | Expr::IsNull(_) | Expr::And(_) | Expr::Or(_) | Expr::Not(_) => None,
    }
}

impl Key {
    fn something(field: FieldId) -> Self {
        Self { field, holds: Holds::Something }
    }
}

fn of_test(field: FieldId, test: &Test) -> Vec<Key> {
    let text = |text: &str| Key { field, holds: Holds::Text(fold(text).into()) };
    match test {
        Test::Equals(Literal::Text(literal)) => vec![text(literal)],
        Test::Equals(Literal::Int(int)) => vec![Key { field, holds: Holds::Number(*int) }],
        Test::In(set) => set.items().iter().map(|item| text(item)).collect(),
        Test::Wildcard(wildcard) => {
            let part = part(wildcard);
            vec![part.map_or(Key::something(field), |(place, text)| Key {
                field,
                holds: Holds::Part(place, text),
            })]
        }
        Test::Equals(_) | Test::Regex(_) | Test::Range(_) | Test::Cidr(_) | Test::Part(..) => {
            vec![Key::something(field)]
        }
    }
}

/// The longest of the pattern's literals, with its place.
fn part(wildcard: &Wildcard) -> Option<(Place, Box<str>)> {
    let pieces = wildcard.pieces();
    let places = pieces.iter().enumerate().filter_map(|(at, piece)| match piece {
        Piece::Text(text) if at == 0 => Some((Place::Start, text)),
        Piece::Text(text) if at + 1 == pieces.len() => Some((Place::End, text)),
        Piece::Text(text) => Some((Place::Anywhere, text)),
        Piece::One | Piece::Many => None,
    });
    let is_usable = |text: &str| {
        // How letters beyond ASCII fold depends on their neighbours (a sigma at the end of a word), so that a part need not
        // fold as it does inside the whole. A folded pattern is searched in the folded value as it stands.
        text.len() >= MIN_PART && (wildcard.case() == Case::Folded || text.is_ascii())
    };
    places
        .filter(|(_, text)| is_usable(text))
        .max_by_key(|(_, text)| text.len())
        .map(|(place, text)| (place, cut(place, &fold(text)).into()))
}

/// At most [`MAX_PART`] bytes of the text, from the end that its place is counted from.
fn cut(place: Place, text: &str) -> &str {
    match place {
        Place::Start | Place::Anywhere => &text[..text.floor_char_boundary(MAX_PART)],
        Place::End => &text[text.ceil_char_boundary(text.len().saturating_sub(MAX_PART))..],
    }
}

/// A field without which the scalar is null.
fn needed_field(scalar: &Scalar) -> Option<FieldId> {
    match scalar {
        Scalar::Field(field) => Some(*field),
        Scalar::Call(_, args) => args.iter().find_map(needed_field),
        Scalar::Compare(_, sides) => needed_field(&sides.0).or_else(|| needed_field(&sides.1)),
        Scalar::Test(scalar, _) => needed_field(scalar),
        // True or false whatever is there.
        Scalar::Null | Scalar::Literal(_) | Scalar::Is(_) => None,
    }
}

/// The number as [`Holds::Number`] has it; `None` where no whole number equals it.
pub(super) fn whole(number: Number) -> Option<i64> {
    match number.literal() {
        Literal::Int(int) => Some(int),
        _ => None,
    }
}
