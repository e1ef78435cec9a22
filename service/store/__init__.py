"""Where runs, events, deliveries and keys are kept: one interface (`base`), one engine per database."""
