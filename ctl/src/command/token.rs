//! `orchctl token`, `orchctl audit` and `orchctl whoami`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use orch_core::access::Role;
use orch_proto::v1;

use crate::args::{AuditArgs, TokenCommand, TokenCreateArgs};
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{AuditView, TokenMadeView, TokenRevokedView, TokensView, WhoView};

/// Makes, lists or revokes tokens.
pub async fn run(context: &Context, command: TokenCommand) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    match command {
        TokenCommand::Create(args) => create(context, &client, args).await?,
        TokenCommand::List => {
            let request = v1::ListTokensRequest {};
            let listed = client.unary("cannot list tokens", client.admin().list_tokens(request)).await?;
            context.print(&TokensView::from(listed))?;
        }
        TokenCommand::Revoke { token } => {
            let request = v1::RevokeTokenRequest { name: token.to_string() };
            let what = format!("cannot revoke token {token}");
            let revoked = client.unary(&what, client.admin().revoke_token(request)).await?;
            context.print(&TokenRevokedView::new(token.to_string(), revoked))?;
        }
    }
    Ok(Exit::Done)
}

async fn create(context: &Context, client: &Client, args: TokenCreateArgs) -> Result<(), Failure> {
    let TokenCreateArgs { token, role, queues, expires, out } = args;
    // Before the token is made: a secret that cannot be kept is lost.
    let mut file = out.as_deref().map(private_file).transpose()?;
    let request = v1::CreateTokenRequest {
        name: token.to_string(),
        role: v1::Role::from(Role::from(role)).into(),
        queues: queues.iter().map(ToString::to_string).collect(),
        expires_in_ms: expires.map_or(0, |span| span.0),
    };
    let made = client.unary(&format!("cannot make token {token}"), client.admin().create_token(request)).await;
    let (Some(path), Some(file)) = (out, &mut file) else {
        return context.print(&TokenMadeView::new(made?, None));
    };
    let made = made.inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    let written = writeln!(file, "{}", made.secret).and_then(|()| file.sync_all());
    written.map_err(|error| {
        Failure::error(format!("token {token} was made, and its secret could not be written to {}", path.display()))
            .fix(format!("`orchctl token revoke {token}`, and make it again"))
            .because(error)
    })?;
    context.print(&TokenMadeView::new(made, Some(path.display().to_string())))
}

/// A new file that nobody else can read.
fn private_file(path: &Path) -> Result<std::fs::File, Failure> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        Failure::usage(format!("cannot make the file {}", path.display()))
            .fix("name one that is not there, in a folder that is")
            .because(error)
    })
}

/// Lists the audit.
pub async fn audit(context: &Context, args: AuditArgs) -> Result<Exit, Failure> {
    let AuditArgs { actor, call, verdict, since, limit } = args;
    let request = v1::ListAuditRequest {
        actor,
        call,
        verdict: verdict.map_or("", |verdict| verdict.name()).to_owned(),
        since_unix_ms: since.map(|since| since.resolve(context.now()).0),
        limit,
    };
    let client = context.connect().await?;
    let listed = client.unary("cannot list the audit", client.admin().list_audit(request)).await?;
    context.print(&AuditView::from(listed))?;
    Ok(Exit::Done)
}

/// Says who the server takes the caller for.
pub async fn whoami(context: &Context) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let who = client.unary("cannot ask who I am", client.admin().who_am_i(v1::WhoAmIRequest {})).await?;
    context.print(&WhoView::from(who))?;
    Ok(Exit::Done)
}
