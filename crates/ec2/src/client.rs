//! The one who is asked: all regions and roles of a query, and what they say put together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_ec2::config::{Credentials, Region};
use futures_util::future::try_join_all;
use tokio::sync::Mutex;

use crate::calls::Calls;
use crate::error::Ec2Error;
use crate::instance::Instance;
use crate::place::{Place, PlaceName, Watches};
use crate::query::InstanceQuery;
use crate::settings::Ec2Settings;
use crate::{lifecycle, pages};

/// The first pause after an attempt that failed; each next one may be twice as long, and all are shortened by chance.
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// A client of EC2 and Auto Scaling. Cheap to clone; clones share connections, credentials, limits and counts.
#[derive(Debug, Clone)]
pub struct Ec2 {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Ec2Settings,
    watches: Watches,
    known: Mutex<Known>,
}

/// What was found out about the surroundings, as it was first needed.
#[derive(Debug, Default)]
struct Known {
    base: Option<SdkConfig>,
    own_region: Option<String>,
    places: BTreeMap<PlaceName, Arc<Place>>,
}

impl Ec2 {
    /// A client that has asked nothing yet: credentials and the own region are looked for at the first question, and
    /// again at the next while there are none.
    pub fn new(settings: Ec2Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                watches: Watches::default(),
                known: Mutex::default(),
            }),
        }
    }

    /// All instances that match, in all regions and as all roles that the query names, sorted by id.
    ///
    /// May be dropped at any point; nothing is left half done.
    ///
    /// # Errors
    /// When any of the calls that it takes fails for good; then there is no answer at all. How long that can be follows from
    /// [`Ec2Settings::timeout`] and [`Ec2Settings::attempts`], for each page of each place.
    pub async fn instances(&self, query: &InstanceQuery) -> Result<Vec<Instance>, Ec2Error> {
        let calls = query.calls()?;
        let places = self.places(query).await?;
        let calls = &calls;
        let asked = places.iter().map(|place| async move {
            let mut found = BTreeMap::new();
            for filters in calls {
                found.extend(pages::instances(place, filters).await?);
            }
            if self.inner.settings.lifecycle {
                lifecycle::fill_in(place, &mut found).await?;
            }
            Ok(found)
        });
        let mut all = BTreeMap::new();
        for found in Box::pin(try_join_all(asked)).await? {
            all.extend(found);
        }
        Ok(all.into_values().collect())
    }

    /// Those of the instances `ids`, in `region` or else in the own one, that EC2 says are terminated. One that EC2 knows
    /// nothing of, as it does some time after an end, is not among them.
    ///
    /// # Errors
    /// As for [`Ec2::instances`]: then nothing is known of any.
    pub async fn terminated(
        &self,
        region: Option<&str>,
        ids: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, Ec2Error> {
        let query = InstanceQuery {
            regions: region.map(str::to_owned).into_iter().collect(),
            ..InstanceQuery::default()
        };
        let mut terminated = BTreeSet::new();
        for place in self.places(&query).await? {
            for filters in InstanceQuery::of_terminated(ids) {
                terminated.extend(pages::terminated(&place, &filters).await?);
            }
        }
        terminated.retain(|id| ids.contains(id));
        Ok(terminated)
    }

    /// How many calls were made so far, by all clones together.
    pub fn calls(&self) -> Calls {
        Calls {
            describe_instances: self.inner.watches.ec2.count(),
            describe_auto_scaling_groups: self.inner.watches.auto_scaling.count(),
        }
    }

    async fn places(&self, query: &InstanceQuery) -> Result<Vec<Arc<Place>>, Ec2Error> {
        let Inner {
            settings, watches, ..
        } = &*self.inner;
        let mut known = self.inner.known.lock().await;
        let regions = match query.regions.is_empty() {
            true => vec![known.own_region(settings).await?],
            false => query.regions.iter().cloned().collect(),
        };
        let roles = match query.roles.is_empty() {
            true => vec![None],
            false => query.roles.iter().cloned().map(Some).collect(),
        };
        let mut places = Vec::new();
        for region in &regions {
            let base = known.base(settings, region).await;
            for role in &roles {
                let name = PlaceName {
                    role: role.clone(),
                    region: region.clone(),
                };
                if let Some(place) = known.places.get(&name) {
                    places.push(place.clone());
                    continue;
                }
                let place = Place::new(name.clone(), &base, settings, watches).await;
                let place = Arc::new(place);
                known.places.insert(name, place.clone());
                places.push(place);
            }
        }
        Ok(places)
    }
}

impl Known {
    async fn own_region(&mut self, settings: &Ec2Settings) -> Result<String, Ec2Error> {
        if let Some(region) = &settings.region {
            return Ok(region.clone());
        }
        if self.own_region.is_none() {
            let chain = DefaultRegionChain::builder().build();
            let region = Box::pin(chain.region()).await;
            self.own_region = region.map(|region| region.as_ref().to_owned());
        }
        self.own_region.clone().ok_or_else(|| {
            Ec2Error::unconfigured(
                "EC2",
                "no region is given, and neither AWS_REGION, nor a profile, nor the instance that this runs on says one",
            )
        })
    }

    /// What all clients have in common. `region` is where the SDK's own sources of credentials ask if they have to.
    async fn base(&mut self, settings: &Ec2Settings, region: &str) -> SdkConfig {
        if let Some(base) = &self.base {
            return base.clone();
        }
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(settings.timeout)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(settings.attempts.max(1))
            .with_initial_backoff(FIRST_PAUSE);
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.to_owned()))
            .timeout_config(timeouts)
            .retry_config(retries);
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(key) = &settings.key {
            let key = Credentials::new(&key.id, &key.secret, None, None, "settings");
            loader = loader.credentials_provider(key);
        }
        let base = Box::pin(loader.load()).await;
        self.base.insert(base).clone()
    }
}
