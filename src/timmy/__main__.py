from timmy.cli import main

main()
