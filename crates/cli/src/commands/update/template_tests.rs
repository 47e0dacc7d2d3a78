use hafleet_ec2::SecurityGroup;

use super::*;

fn instance(number: u8, tags: &[(&str, &str)]) -> Instance {
    Instance {
        id: format!("i-{number}"),
        region: "eu-west-1".into(),
        zone: Some("eu-west-1a".into()),
        vpc: None,
        private_ip: Some([10, 0, 0, number].into()),
        public_ip: None,
        ipv6: Vec::new(),
        security_groups: vec![SecurityGroup {
            id: "sg-1".into(),
            name: "web".into(),
        }],
        tags: tags
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        lifecycle: None,
    }
}

fn found(instances: Vec<Instance>) -> Found {
    Found {
        groups: [("web".to_owned(), instances.clone())].into(),
        instances,
    }
}

fn render(text: &str, instances: Vec<Instance>) -> Result<String, Failure> {
    Template::new(Path::new("x.j2"), text.to_owned()).render(&found(instances))
}

#[test]
fn instances_and_groups_are_there() {
    let template = "\
{% for instance in instances %}
server {{ instance.id }} {{ instance.private_ip }}:{{ instance.tags.port | default(80) }}
{% endfor %}
{% for name, members in groups | items %}
# {{ name }}: {{ members | length }}
{% endfor %}
{{ groups['web'][0].zone }}
";
    let text = render(
        template,
        vec![instance(1, &[("port", "81")]), instance(2, &[])],
    )
    .unwrap();
    assert_eq!(
        text,
        "server i-1 10.0.0.1:81\nserver i-2 10.0.0.2:80\n# web: 2\neu-west-1a\n"
    );
}

#[test]
fn what_is_misspelt_is_an_error_with_its_place() {
    for template in ["\n{{ instance.id }}", "\n{{ instances[0].ip }}", "\n{% for"] {
        let error = render(template, vec![instance(1, &[])]).unwrap_err();
        assert!(error.to_string().contains("x.j2:2"), "{error}");
    }
}

#[test]
fn an_endless_template_ends() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    assert!(render(endless, Vec::new()).is_err());
}

#[test]
fn no_tag_writes_a_line() {
    let tags = [("a", "x\n  server evil 192.0.2.66:80"), ("b", "it's two")];
    let text = render(
        "{{ instances[0].tags.a is defined }} {{ instances[0].tags.b | quote }}",
        vec![instance(1, &tags)],
    );
    assert_eq!(text.unwrap(), r"False 'it'\''s two'");
}

#[test]
fn the_built_in_template_has_a_server_for_each_address() {
    let mut without = instance(3, &[]);
    without.private_ip = None;
    let instances = found(vec![instance(1, &[]), instance(2, &[]), without]);
    let text = Template::built_in().render(&instances).unwrap();
    let servers: Vec<_> = text
        .lines()
        .filter(|line| line.trim().starts_with("server "))
        .collect();
    assert_eq!(
        servers,
        [
            "    server i-1 10.0.0.1:80 check",
            "    server i-2 10.0.0.2:80 check"
        ]
    );
}

#[test]
fn the_templates_of_the_book_render() {
    let book = include_str!("../../../../../docs/src/one-shot-update.md");
    let blocks = book.split("```jinja\n").skip(1);
    let templates: Vec<_> = blocks
        .filter_map(|block| block.split("```").next())
        .filter(|block| !block.contains("{{#include"))
        .collect();
    assert!(!templates.is_empty());
    for template in templates {
        let text = render(template, vec![instance(1, &[]), instance(2, &[])]).unwrap();
        assert!(text.contains("server i-2 10.0.0.2:8080 check\n"), "{text}");
    }
}
