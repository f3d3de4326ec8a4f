"""Operations: health checks, metrics, queue sampling, retention."""
