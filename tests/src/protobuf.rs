//! Messages of the agents' protocol, put together by hand: what nobody but an agent should say needs no code that says it.

/// A field of bytes, of text, or of another message.
pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u64::try_from(bytes.len()).expect("a length");
    [&[number << 3 | 2][..], &varint(len), bytes].concat()
}

/// A field of a number, as long as that needs.
pub fn varying(number: u8, value: u64) -> Vec<u8> {
    [&[number << 3][..], &varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
    bytes
}
