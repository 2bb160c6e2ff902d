//! Orders that depend on a seed alone, so that a failure can be run again.

/// The items in another order.
pub fn shuffled<T>(items: &[T], seed: u64) -> Vec<T>
where
    T: Clone,
{
    let mut state = seed;
    let mut items = items.to_vec();
    for place in (1..items.len()).rev() {
        let choice =
            usize::try_from(next(&mut state) % (place as u64 + 1)).expect("no more than the items there are");
        items.swap(place, choice);
    }
    items
}

/// Every item once or twice, chosen by the seed, in another order.
pub fn doubled<T>(items: &[T], seed: u64) -> Vec<T>
where
    T: Clone,
{
    let mut state = seed;
    let again = items.iter().filter(|_| next(&mut state).is_multiple_of(2)).cloned();
    let all: Vec<T> = items.iter().cloned().chain(again.collect::<Vec<T>>()).collect();
    shuffled(&all, seed)
}

/// A number from 0 to 1, without the 1.
pub fn share(state: &mut u64) -> f64 {
    // 53 bits are what a double holds exactly.
    (next(state) >> 11) as f64 / (1_u64 << 53) as f64
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_an_order_and_nothing_is_lost() {
        let items: Vec<u32> = (0..100).collect();
        let mixed = shuffled(&items, 7);
        assert_ne!(mixed, items);
        assert_eq!(mixed, shuffled(&items, 7));
        let mut sorted = doubled(&items, 7);
        assert!(sorted.len() > 120);
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted, items);
    }
}
