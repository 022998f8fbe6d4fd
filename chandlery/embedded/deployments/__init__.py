"""The laptop's SeldonDeployment controller: predictors as processes of our inference server behind the gateway."""
