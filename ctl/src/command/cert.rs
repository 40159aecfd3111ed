//! `orchctl cert`.

use orch_transport::development::{self, Development, Existing};

use crate::args::{CertCommand, CertDevArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::CertsView;

/// Makes certificates.
pub fn run(context: &Context, command: CertCommand) -> Result<Exit, Failure> {
    match command {
        CertCommand::Dev(CertDevArgs { dir, name, client, valid, renew, force }) => {
            let existing = match (renew, force) {
                (true, _) => Existing::Renew,
                (false, true) => Existing::Replace,
                (false, false) => Existing::Keep,
            };
            let asked = Development { dir, names: name, client, valid: valid.duration(), existing };
            let made = development::make(&asked).map_err(|error| Failure::error(error.to_string()).caused(error))?;
            context.print(&CertsView::from(made))?;
        }
    }
    Ok(Exit::Done)
}
