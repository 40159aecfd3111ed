//! What a runner writes: the worker reads it, whatever it is.

/// The first byte says in which pieces the output arrives.
pub fn runner(data: &[u8]) {
    let Some((size, output)) = data.split_first() else { return };
    let limit = 4096;
    let pieces: Vec<&[u8]> = output.chunks(usize::from(*size).max(1)).collect();
    let in_pieces = orch_worker::read_output(&pieces, limit);
    let at_once = orch_worker::read_output(&[output], limit);
    match (in_pieces, at_once) {
        // Where a line is too long depends on the pieces only in how much was read before.
        (Ok(pieces), Ok(once)) => assert_eq!(pieces, once, "the pieces do not matter"),
        (Err(_), Err(_)) => {}
        (pieces, once) => panic!("in pieces {pieces:?}, at once {once:?}"),
    }
}
