"""Operations that need both apps."""
