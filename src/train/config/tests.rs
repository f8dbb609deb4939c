use super::*;

#[test]
fn a_configuration_survives_its_own_file() -> Result<()> {
    let given = Settings { seed: Some(7), learning_rate: Some(0.1 + 0.2), ..Settings::default() };
    let config = given.resolve()?;
    let again = Settings::parse(&config.to_toml()?).map_err(Error::Data)?.resolve()?;
    assert_eq!(config, again);
    assert!(config.differences(&again).is_empty());
    let other = Settings { epochs: Some(3), device: Some("cpu".into()), ..again.settings() }.resolve()?;
    assert_eq!(config.differences(&other), ["epochs"]);
    Ok(())
}

#[test]
fn what_a_run_begins_with() -> Result<()> {
    let init = |recipe, init: Option<&str>| {
        let settings = Settings { recipe, init: init.map(PathBuf::from), ..Settings::default() };
        settings.resolve().map(|config| config.init)
    };
    assert_eq!(init(None, None)?, Init::Base);
    assert_eq!(init(Some(Recipe::Notebook), None)?, Init::Fresh);
    assert_eq!(init(None, Some("none"))?, Init::Fresh);
    assert_eq!(init(None, Some("./none"))?, Init::File("./none".into()));
    for init in [Init::Fresh, Init::Base, Init::File("a/b".into())] {
        assert_eq!(Init::of(init.path()), init);
    }
    Ok(())
}

#[test]
fn patience_is_off_where_somebody_says_how_many_epochs() -> Result<()> {
    assert_eq!(Settings::default().resolve()?.patience, PATIENCE);
    assert_eq!(Settings { epochs: Some(9), ..Settings::default() }.resolve()?.patience, 0);
    assert_eq!(Settings { init: Some(FRESH.into()), ..Settings::default() }.resolve()?.patience, 0);
    let both = Settings { epochs: Some(9), patience: Some(2), ..Settings::default() };
    assert_eq!(both.resolve()?.patience, 2);
    Ok(())
}

#[test]
fn every_key_is_listed() -> Result<()> {
    let config = Settings {
        data: Some("d".into()),
        columns: Some(ColumnNames { song: Some("s".into()), ..ColumnNames::default() }),
        split: Some("random".into()),
        folds: Some(5),
        outputs: Some(10),
        init: Some("w".into()),
        without: Some(vec![Variation::Key]),
        parts: Some(Parts::MOST),
        balance: Some(true),
        frozen_norms: Some(true),
        embed_audio: Some(true),
        ..Settings::default()
    }
    .resolve()?;
    let table = toml::Table::try_from(config.settings()).map_err(|e| Error::Data(e.to_string()))?;
    let mut known = KEYS.to_vec();
    known.sort_unstable();
    let mut keys: Vec<&str> = table.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, known);
    Ok(())
}

#[test]
fn unknown_keys_and_absurd_values_are_named() {
    let error = Settings::parse("epoch = 3").unwrap_err();
    assert!(error.contains("`epoch`") && error.contains("`epochs`"), "{error}");
    assert!(Settings::parse("epochs = \"many\"").unwrap_err().contains("epochs"));
    let absurd = [
        Settings { epochs: Some(0), ..Settings::default() },
        Settings { batch_size: Some(0), ..Settings::default() },
        Settings { learning_rate: Some(f64::NAN), ..Settings::default() },
        Settings { learning_rate: Some(-1.0), ..Settings::default() },
        Settings { val_fraction: Some(1.0), ..Settings::default() },
        Settings { folds: Some(1), ..Settings::default() },
        Settings { outputs: Some(0), ..Settings::default() },
        Settings { split: Some("persons".into()), ..Settings::default() },
        Settings { recipe: Some(Recipe::Notebook), without: Some(vec![Variation::Masks]), ..Settings::default() },
        Settings { seed: Some(u64::MAX), ..Settings::default() },
        Settings { frozen: Some(7), ..Settings::default() },
        Settings { recipe: Some(Recipe::Notebook), init: Some("base".into()), ..Settings::default() },
    ];
    for settings in absurd {
        let error = settings.clone().resolve().unwrap_err();
        assert!(matches!(&error, Error::Usage { option, .. } if !option.starts_with("--")), "{settings:?}: {error}");
    }
}
