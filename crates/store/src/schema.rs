//! The schema: its migrations, and the list of all statements.

use starling_db::{Migration, Schema, Sql};

/// The schema of this program.
pub static SCHEMA: Schema = Schema {
    migrations: &[
        Migration {
            name: "0001_start",
            text: include_str!("migrations/0001_start.sql"),
        },
        Migration {
            name: "0002_accounts",
            text: include_str!("migrations/0002_accounts.sql"),
        },
        Migration {
            name: "0003_receipts",
            text: include_str!("migrations/0003_receipts.sql"),
        },
        Migration {
            name: "0004_jobs",
            text: include_str!("migrations/0004_jobs.sql"),
        },
        Migration {
            name: "0005_directory",
            text: include_str!("migrations/0005_directory.sql"),
        },
        Migration {
            name: "0006_relations",
            text: include_str!("migrations/0006_relations.sql"),
        },
        Migration {
            name: "0007_presence",
            text: include_str!("migrations/0007_presence.sql"),
        },
        Migration {
            name: "0008_push",
            text: include_str!("migrations/0008_push.sql"),
        },
        Migration {
            name: "0009_unread",
            text: include_str!("migrations/0009_unread.sql"),
        },
        Migration {
            name: "0010_unignored",
            text: include_str!("migrations/0010_unignored.sql"),
        },
        Migration {
            name: "0011_history",
            text: include_str!("migrations/0011_history.sql"),
        },
        Migration {
            name: "0012_waiting_receipts",
            text: include_str!("migrations/0012_waiting_receipts.sql"),
        },
        Migration {
            name: "0013_edits",
            text: include_str!("migrations/0013_edits.sql"),
        },
        Migration {
            name: "0014_server_keys",
            text: include_str!("migrations/0014_server_keys.sql"),
        },
        Migration {
            name: "0015_relations_by_place",
            text: include_str!("migrations/0015_relations_by_place.sql"),
        },
        Migration {
            name: "0016_forks",
            text: include_str!("migrations/0016_forks.sql"),
        },
        Migration {
            name: "0017_destinations",
            text: include_str!("migrations/0017_destinations.sql"),
        },
        Migration {
            name: "0018_remote_invites",
            text: include_str!("migrations/0018_remote_invites.sql"),
        },
        Migration {
            name: "0019_own_keys",
            text: include_str!("migrations/0019_own_keys.sql"),
        },
        Migration {
            name: "0020_late_events",
            text: include_str!("migrations/0020_late_events.sql"),
        },
        Migration {
            name: "0021_keys",
            text: include_str!("migrations/0021_keys.sql"),
        },
        Migration {
            name: "0022_to_device",
            text: include_str!("migrations/0022_to_device.sql"),
        },
        Migration {
            name: "0023_remote_devices",
            text: include_str!("migrations/0023_remote_devices.sql"),
        },
        Migration {
            name: "0024_purges",
            text: include_str!("migrations/0024_purges.sql"),
        },
        Migration {
            name: "0025_device_lists_resent",
            text: include_str!("migrations/0025_device_lists_resent.sql"),
        },
        Migration {
            name: "0026_restored",
            text: include_str!("migrations/0026_restored.sql"),
        },
        Migration {
            name: "0027_members_and_bytes",
            text: include_str!("migrations/0027_members_and_bytes.sql"),
        },
        Migration {
            name: "0028_dehydrated",
            text: include_str!("migrations/0028_dehydrated.sql"),
        },
        Migration {
            name: "0029_member_words",
            text: include_str!("migrations/0029_member_words.sql"),
        },
        Migration {
            name: "0030_own_key_current",
            text: include_str!("migrations/0030_own_key_current.sql"),
        },
        Migration {
            name: "0031_backup_refusals",
            text: include_str!("migrations/0031_backup_refusals.sql"),
        },
        Migration {
            name: "0032_lists",
            text: include_str!("migrations/0032_lists.sql"),
        },
    ],
    // An older program takes the position of a live event for its number.
    oldest_program: 20,
};

/// Every statement of this crate: a test prepares each on both engines.
#[must_use]
pub fn statements() -> Vec<&'static Sql> {
    [
        crate::account_data::STATEMENTS,
        crate::accounts::STATEMENTS,
        crate::aggregations::STATEMENTS,
        crate::aliases::STATEMENTS,
        crate::auth_graph::STATEMENTS,
        crate::backfill::STATEMENTS,
        crate::destinations::STATEMENTS,
        crate::devices::STATEMENTS,
        crate::erased::STATEMENTS,
        crate::events::STATEMENTS,
        crate::filters::STATEMENTS,
        crate::fork_members::STATEMENTS,
        crate::gap_times::STATEMENTS,
        crate::gaps::STATEMENTS,
        crate::history::STATEMENTS,
        crate::ignored::STATEMENTS,
        crate::inbox::STATEMENTS,
        crate::interactive_sessions::STATEMENTS,
        crate::jobs::STATEMENTS,
        crate::key_backup::STATEMENTS,
        crate::login_tokens::STATEMENTS,
        crate::members::STATEMENTS,
        crate::memberships::STATEMENTS,
        crate::names::STATEMENTS,
        crate::openid_tokens::STATEMENTS,
        crate::outliers::STATEMENTS,
        crate::outgoing::STATEMENTS,
        crate::own_keys::STATEMENTS,
        crate::presence::STATEMENTS,
        crate::profiles::STATEMENTS,
        crate::purge::STATEMENTS,
        crate::push_rules::STATEMENTS,
        crate::pushers::STATEMENTS,
        crate::receipts::STATEMENTS,
        crate::redactions::STATEMENTS,
        crate::registration_tokens::STATEMENTS,
        crate::relations::STATEMENTS,
        crate::remote_invites::STATEMENTS,
        crate::reports::STATEMENTS,
        crate::room_details::STATEMENTS,
        crate::room_servers::STATEMENTS,
        crate::rooms::STATEMENTS,
        crate::served::STATEMENTS,
        crate::server::STATEMENTS,
        crate::server_keys::STATEMENTS,
        crate::snapshots::STATEMENTS,
        crate::threads::STATEMENTS,
        crate::timeline::STATEMENTS,
        crate::to_device::STATEMENTS,
        crate::transactions::STATEMENTS,
        crate::unread::counts::STATEMENTS,
        crate::unread::marks::STATEMENTS,
        crate::unread::note::STATEMENTS,
        crate::unread::watch::STATEMENTS,
        crate::user_words::STATEMENTS,
        crate::cross_signing::STATEMENTS,
        crate::device_keys::STATEMENTS,
        crate::device_lists::STATEMENTS,
        crate::device_lists_resent::STATEMENTS,
        crate::one_time_keys::STATEMENTS,
        crate::remote_devices::STATEMENTS,
        crate::restored::STATEMENTS,
        crate::dehydrated::STATEMENTS,
        crate::member_words::STATEMENTS,
    ]
    .concat()
}
