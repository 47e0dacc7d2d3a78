//! One account in one region: the clients that ask there, and how often they may.

use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_sdk_ec2::config::Region;

use crate::calls::Watch;
use crate::pace::Pace;
use crate::settings::Ec2Settings;

/// Which account, by the role that leads there, and which region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlaceName {
    pub(crate) role: Option<String>,
    pub(crate) region: String,
}

/// What one place is asked with. Credentials of a role are kept until shortly before they expire.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: PlaceName,
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) auto_scaling: aws_sdk_autoscaling::Client,
    pace: Pace,
    instances_a_page: u16,
}

/// What all clients count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watches {
    pub(crate) ec2: Watch,
    pub(crate) auto_scaling: Watch,
}

impl Place {
    /// Nothing is asked yet, not even for the role.
    pub(crate) async fn new(
        name: PlaceName,
        base: &SdkConfig,
        settings: &Ec2Settings,
        watches: &Watches,
    ) -> Self {
        let region = Region::new(name.region.clone());
        let mut ec2 = aws_sdk_ec2::config::Builder::from(base)
            .region(region.clone())
            .interceptor(watches.ec2.clone());
        let mut auto_scaling = aws_sdk_autoscaling::config::Builder::from(base)
            .region(region.clone())
            .interceptor(watches.auto_scaling.clone());
        if let Some(role) = &name.role {
            let role = AssumeRoleProvider::builder(role)
                .session_name("hafleet")
                .region(region)
                .configure(base)
                .build()
                .await;
            let role = aws_sdk_ec2::config::SharedCredentialsProvider::new(role);
            // The identity cache is the clients' own: credentials are cached by provider.
            ec2 = ec2.credentials_provider(role.clone());
            auto_scaling = auto_scaling.credentials_provider(role);
        }
        Self {
            name,
            ec2: aws_sdk_ec2::Client::from_conf(ec2.build()),
            auto_scaling: aws_sdk_autoscaling::Client::from_conf(auto_scaling.build()),
            pace: Pace::new(settings.rate),
            instances_a_page: settings.page_size,
        }
    }

    /// Waits until another call may be made.
    pub(crate) async fn turn(&self) {
        self.pace.turn().await;
    }

    /// `MaxResults` of `DescribeInstances`.
    pub(crate) fn instances_a_page(&self) -> i32 {
        i32::from(self.instances_a_page.clamp(5, 1000))
    }

    /// How errors name a call here.
    pub(crate) fn call(&self, action: &str) -> String {
        let PlaceName { role, region } = &self.name;
        match role {
            Some(role) => format!("{action} in {region} as {role}"),
            None => format!("{action} in {region}"),
        }
    }
}
