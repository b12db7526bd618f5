//! Lists of integers as bytes: seven bits a byte, lowest first, the high bit says that more follow.

/// Appends `number`, which is not negative.
pub(crate) fn push(out: &mut Vec<u8>, number: i64) {
    let mut rest = number.unsigned_abs();
    while rest >= 0x80 {
        out.push(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_bits(rest));
}

fn low_bits(number: u64) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or(0)
}

/// Takes the next number off `bytes`, or `None` when they end within it or at once.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return i64::try_from(number).ok();
        }
    }
    None
}

/// The bytes of a list.
pub(crate) fn list(numbers: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let mut out = Vec::new();
    for number in numbers {
        push(&mut out, number);
    }
    out
}

/// The list that [`list`] wrote, or `None` if the bytes are damaged.
pub(crate) fn read_list(mut bytes: &[u8]) -> Option<Vec<i64>> {
    let mut numbers = Vec::new();
    while !bytes.is_empty() {
        numbers.push(take(&mut bytes)?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::{list, read_list};

    #[test]
    fn lists_come_back() {
        let numbers = vec![0, 1, 127, 128, 300, 1 << 53, i64::MAX];
        assert_eq!(read_list(&list(numbers.clone())), Some(numbers));
        assert_eq!(read_list(&[]), Some(vec![]));
        assert_eq!(read_list(&[0x80]), None);
        assert_eq!(read_list(&[0xff; 10]), None);
    }
}
