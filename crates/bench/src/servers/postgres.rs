//! A cluster of PostgreSQL that the measured servers share: a database for each.

use std::fs;

use percent_encoding::percent_decode_str;
use tokio_postgres::{Client, NoTls};

use super::Error;
use super::processes::Processes;

/// A cluster, and a user who may create databases.
#[derive(Debug)]
pub struct Cluster {
    /// All its processes.
    pub processes: Processes,
    url: String,
}

/// A database for one server.
#[derive(Debug)]
pub struct Database {
    /// The user's name.
    pub user: String,
    /// The folder of the cluster's socket.
    pub host: String,
    /// The database's name.
    pub name: String,
    cluster_url: String,
}

impl Cluster {
    /// The cluster at `postgres://USER@%2FFOLDER/DATABASE`, on this machine.
    ///
    /// # Errors
    /// When it doesn't answer, or doesn't say where its files are.
    pub async fn at(url: &str) -> Result<Self, Error> {
        let client = connect(url).await?;
        let row = client.query_one("SHOW data_directory", &[]).await?;
        let folder: String = row.get(0);
        let pid = fs::read_to_string(format!("{folder}/postmaster.pid"))?;
        let pid = pid.lines().next().and_then(|line| line.parse().ok());
        let pid = pid.ok_or_else(|| Error::Start("PostgreSQL has no process".to_owned()))?;
        Ok(Self {
            processes: Processes::of(vec![pid]),
            url: url.to_owned(),
        })
    }

    /// The server's version, and what makes its commits durable.
    ///
    /// # Errors
    /// When it doesn't answer, or doesn't wait for the disk: the others do.
    pub async fn version(&self) -> Result<String, Error> {
        let client = connect(&self.url).await?;
        let query = "SELECT current_setting('server_version'), current_setting('fsync'),
            current_setting('synchronous_commit'), current_setting('full_page_writes')";
        let row = client.query_one(query, &[]).await?;
        let setting = |column| row.get::<_, String>(column);
        let durable = [setting(1), setting(2), setting(3)];
        if durable.iter().any(|setting| setting != "on") {
            let why = "fsync, synchronous_commit and full_page_writes must be on".to_owned();
            return Err(Error::Start(why));
        }
        Ok(format!("{}, waits for the disk", setting(0)))
    }

    /// A fresh database.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn create(&self, name: &str) -> Result<Database, Error> {
        let client = connect(&self.url).await?;
        let statement =
            format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
        client.batch_execute(&statement).await?;
        let (user, host) = user_and_host(&self.url)
            .ok_or_else(|| Error::Start(format!("not postgres://USER@HOST/NAME: {}", self.url)))?;
        Ok(Database {
            user,
            host,
            name: name.to_owned(),
            cluster_url: self.url.clone(),
        })
    }
}

impl Database {
    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        let host = self.host.replace('/', "%2F");
        format!("postgres://{}@{host}/{}", self.user, self.name)
    }

    /// What it takes on the disk, in bytes; without the cluster's write-ahead log.
    ///
    /// # Errors
    /// When the cluster doesn't answer.
    pub async fn bytes(&self) -> Result<u64, Error> {
        let client = connect(&self.cluster_url).await?;
        let row = client
            .query_one("SELECT pg_database_size($1::text)", &[&self.name])
            .await?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }

    /// What a query for one number gives.
    ///
    /// # Errors
    /// When the database doesn't answer.
    pub async fn number(&self, query: &str) -> Result<f64, Error> {
        let client = connect(&self.url()).await?;
        Ok(client.query_one(query, &[]).await?.get(0))
    }
}

async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Its errors reach who waits for an answer.
    tokio::spawn(connection);
    Ok(client)
}

fn user_and_host(url: &str) -> Option<(String, String)> {
    let (user, rest) = url.strip_prefix("postgres://")?.split_once('@')?;
    let (host, _) = rest.split_once('/')?;
    let host = percent_decode_str(host).decode_utf8().ok()?.into_owned();
    Some((user.to_owned(), host))
}
