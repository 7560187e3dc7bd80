"""What contributors run and nobody deploys."""
