"""What the operator watches: health, metrics, queues, retention."""
